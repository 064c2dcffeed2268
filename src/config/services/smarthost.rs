//! The smarthost in `[mail]`: its address and the login.

use std::path::{Path, PathBuf};

use gatepost_services::mail::delivery::Login;
use gatepost_services::mail::mx::Server;
use gatepost_services::mail::secret::Secret;

use crate::config::diagnostic::Problem;
use crate::config::section::{Section, Setting};
use crate::config::value::{parsed, quoted};

/// The longest name of a user of another server, in octets.
const USER_OCTETS_MAX: usize = 255;

/// The login at the `smarthost`. Relative paths start at `folder`.
pub(super) fn read_login(
    mail: &mut Section<'_>,
    smarthost: &Setting<Option<Server>>,
    folder: &Path,
) -> Option<Login> {
    let user = mail.setting("smarthost_user", None, parsed(user));
    let password = mail.setting("smarthost_password_file", None, parsed(path));
    let span_of_user = user.written().filter(|(user, _)| user.is_some()).map(|(_, span)| span);
    let span_of_password = password.written().filter(|(path, _)| path.is_some()).map(|(_, span)| span);
    let problem = match (&span_of_user, &span_of_password) {
        (Some(span), None) if password.known().is_some() => {
            let what = "mail.smarthost_password_file is missing";
            let remedy = "write the path of a file with the password in its first line, or remove the user";
            Some((span, Problem::new(what, remedy)))
        }
        (None, Some(span)) if user.known().is_some() => {
            let what = "mail.smarthost_user is missing";
            Some((span, Problem::new(what, "write the user, or remove the password's file")))
        }
        (Some(span), Some(_)) if matches!(smarthost.known(), Some(None)) => {
            let what = "there is no smarthost to log in at";
            Some((
                span,
                Problem::new(what, "write mail.smarthost, or remove the user and its password's file"),
            ))
        }
        _ => None,
    };
    if let Some((span, problem)) = problem {
        mail.report(span.clone(), problem);
    }
    Some(Login { user: user.value?, password: Secret::File(folder.join(password.value?)) })
}

/// A user's name on another server; empty for none.
fn user(text: &str) -> Result<Option<String>, Problem> {
    if text.len() > USER_OCTETS_MAX || text.chars().any(char::is_control) {
        let what = format!("{} is no name of a user there", quoted(text));
        let remedy = format!("write 1 to {USER_OCTETS_MAX} octets without control characters");
        return Err(Problem::new(what, remedy));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// The path of a file; empty for none.
fn path(text: &str) -> Result<Option<PathBuf>, Problem> {
    if text.contains('\0') {
        let what = format!("{} is no path", quoted(text));
        return Err(Problem::new(what, "write the path of a file with the password in its first line"));
    }
    Ok((!text.is_empty()).then(|| text.into()))
}
