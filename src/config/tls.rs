//! `[tls]`: the certificate of the services that use TLS.

use std::path::{Path, PathBuf};

use gatepost_services::tls::keeper::Files;

use super::diagnostic::Problem;
use super::section::Section;
use super::value::{parsed, quoted};

/// `[tls]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The administrator's certificate, if there is one.
    pub files: Option<Files>,
    /// A file of certificates of authorities that are trusted besides those of the system.
    pub authorities: Option<PathBuf>,
}

/// Relative paths start at `folder`, the configuration's.
pub(super) fn read(mut tls: Section<'_>, folder: &Path) -> Tls {
    let certificate = tls.setting("certificate", None, parsed(path));
    let key = tls.setting("key", None, parsed(path));
    for (one, other, missing) in [(&certificate, &key, "key"), (&key, &certificate, "certificate")] {
        if let (Some((Some(_), span)), None) = (one.written(), &other.value) {
            let what = format!("tls.{missing} is missing");
            tls.report(
                span,
                Problem::new(what, "write the files of a certificate and of its key, or neither"),
            );
        }
    }
    let authorities = tls.setting("authorities", None, parsed(path));
    tls.finish();
    let files = certificate.value.zip(key.value);
    let files = files
        .map(|(certificate, key)| Files { certificate: folder.join(certificate), key: folder.join(key) });
    Tls { files, authorities: authorities.value.map(|file| folder.join(file)) }
}

/// The path of a file; empty for none.
fn path(text: &str) -> Result<Option<PathBuf>, Problem> {
    if text.contains('\0') {
        let what = format!("{} is no path", quoted(text));
        return Err(Problem::new(what, "write one such as \"/etc/gatepost/tls/chain.pem\""));
    }
    Ok((!text.is_empty()).then(|| text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const MAIL: &str = "[[users]]\nname = 'anna'\n";

    #[test]
    fn files_are_beside_the_configuration_or_where_they_say() {
        let read = |tls: &str| Config::parse("/etc/gatepost/gatepost.toml", &format!("{MAIL}{tls}"));
        let files = |tls: &str| read(tls).expect("a valid configuration").tls.files;
        assert_eq!(files(""), None);
        assert_eq!(files("[tls]\ncertificate = ''\nkey = ''"), None);
        let beside = files("[tls]\ncertificate = 'tls/chain.pem'\nkey = '/etc/ssl/key.pem'").expect("files");
        assert_eq!(beside.certificate, Path::new("/etc/gatepost/tls/chain.pem"));
        assert_eq!(beside.key, Path::new("/etc/ssl/key.pem"));
        let authorities = |tls: &str| read(tls).expect("a valid configuration").tls.authorities;
        assert_eq!((authorities(""), authorities("[tls]\nauthorities = ''")), (None, None));
        let beside = authorities("[tls]\nauthorities = 'provider.pem'");
        assert_eq!(beside.as_deref(), Some(Path::new("/etc/gatepost/provider.pem")));
        for (tls, missing) in
            [("certificate = 'a'", "tls.key is missing"), ("key = 'a'", "tls.certificate is missing")]
        {
            let mistakes = read(&format!("[tls]\n{tls}")).expect_err(tls);
            assert!(mistakes[0].to_string().contains(missing), "{}", mistakes[0]);
        }
    }
}
