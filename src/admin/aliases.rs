//! The aliases of mail: addresses that lead to users, to other aliases and elsewhere.

use gatepost_services::http::form::Form as Sent;
use maud::{Markup, html};

use super::form::{self, Field, Form, Group, Place};
use super::{Answer, Scene, Unavailable};
use crate::config::edit::Key;

/// An alias.
pub const FORM: Form = Form {
    path: "/aliases",
    place: Place::List { key: "mail.aliases", names: &["name"], columns: &["name", "members"] },
    groups: &[Group {
        name: "alias",
        fields: &[Field::text("name").needed(), Field::lines("members").needed()],
    }],
};

/// The content.
pub async fn content(scene: &Scene<'_>) -> Result<Markup, Unavailable> {
    let words = &scene.texts.aliases;
    Ok(html! {
        p .lead { (words.lead) }
        @if scene.inspector.mail_off().is_some() { p .notice { (words.mail_is_off) } }
        (form::content(scene, &FORM).await?)
    })
}

/// Notes what was sent. A loop goes through several aliases, and is told at any of them: so all are in view.
pub async fn submit(scene: &Scene<'_>, sent: &Sent) -> Result<Answer, Unavailable> {
    let all = Key::parse("mail.aliases").map_err(Unavailable)?;
    form::submit_in_view(scene, &FORM, sent, &[all]).await
}

#[cfg(test)]
mod tests {
    use crate::admin::form::tests::Lab;
    use crate::transaction::tests::run;

    const FILE: &str = "[[users]]\nname = 'anna'\n\n[[mail.aliases]]\nname = 'sales'\nmembers = ['anna', 'office'] # both\n\n\
                        [[mail.aliases]]\nname = 'office'\nmembers = ['anna']\n";

    #[test]
    fn an_alias_that_sends_mail_to_itself_is_refused_beside_its_field() {
        run(async {
            let lab = Lab::new(FILE).await;
            for (path, members) in
                [("/aliases?element=office", "anna\nsales"), ("/aliases?element=sales", "sales")]
            {
                let round = lab.save(path, &[("members", members)]).await;
                assert!(round.page.contains("id=\"members-fault\""), "{path}: {}", round.page);
                let told = ["goes round", "names itself"].iter().any(|told| round.page.contains(told));
                assert!(told && round.page.contains(members), "{path}: {}", round.page);
            }
            let nobody = lab.save("/aliases?new", &[("name", "info"), ("members", "ana")]).await;
            assert!(
                nobody.page.contains("nobody has mail for ana")
                    && nobody.page.contains("write &quot;anna&quot;"),
                "{}",
                nobody.page
            );
            assert_eq!(lab.desk.keeper.pending(), 0, "nothing is noted");
            let new = [("name", "info"), ("members", "sales\r\nbob@elsewhere.example\r\n")];
            assert_eq!(lab.save("/aliases?new", &new).await.location, "/changes");
            lab.post("/changes", &[("do", "apply")]).await;
            lab.post("/changes", &[("do", "keep")]).await;
            let file = lab.desk.file();
            assert!(file.contains("members = [\"sales\", \"bob@elsewhere.example\"]"), "{file}");
            assert!(file.contains("members = ['anna', 'office'] # both"), "{file}");
        });
    }
}
