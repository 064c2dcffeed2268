//! What a browser has sent becomes edits of the candidate.

use gatepost_services::http::StatusCode;
use gatepost_services::http::form::Form as Sent;

use super::list::{self, REMOVE, Target};
use super::page::{Faults, SHOWN, Shown};
use super::value::{Entry, digest, digest_of_all};
use super::{Field, Form, Place, editor};
use crate::admin::texts::fill;
use crate::admin::{Answer, Scene, Unavailable, changes};
use crate::config::edit::{Edit, Key, Stored};
use crate::transaction::{Batch, Draft, Mistake, Unnoted};

/// Why there are no edits.
enum Refusal {
    /// Both the visitor and somebody else have changed these fields; with their values now.
    Changed(Vec<(&'static Field, String)>),
    /// The element is not there any more, or not as it was shown.
    Gone,
    /// The name of the element is no key.
    NoKey(String),
}

/// What was sent to the page of a form.
struct Change<'a> {
    form: &'static Form,
    target: &'a Target,
    sent: &'a Sent,
    /// The label of the element that is new.
    new_label: String,
}

/// Notes what was sent to the page of a form, and leads to the changes that wait.
///
/// # Errors
///
/// The settings cannot be read now.
pub async fn submit(scene: &Scene<'_>, form: &'static Form, sent: &Sent) -> Result<Answer, Unavailable> {
    submit_in_view(scene, form, sent, &[]).await
}

/// As [`submit`]; the visitor has these settings in view, too, so that mistakes in them refuse what was sent.
///
/// # Errors
///
/// As [`submit`].
pub async fn submit_in_view(
    scene: &Scene<'_>,
    form: &'static Form,
    sent: &Sent,
    more: &[Key],
) -> Result<Answer, Unavailable> {
    let target = Target::of(scene);
    if matches!(form.place, Place::List { .. }) && target == Target::All {
        return remove(scene, form, sent).await;
    }
    let keeper = scene.keeper()?;
    let draft = keeper.draft().await?;
    let change = Change { form, target: &target, sent, new_label: label_of_new(form, sent, &draft.stored) };
    let mut faults = change.missing(scene);
    if faults.is_empty() {
        let view = change.view().map_err(Unavailable)?.into_iter().chain(more.iter().cloned()).collect();
        let batch = Batch { edits: Box::new(|draft| change.edits(draft)), view };
        match keeper.note(&editor(scene.visitor), batch).await {
            Ok(noted) if noted.done.is_empty() => return Ok(Answer::SeeOther(form.path.to_owned())),
            Ok(_) => return Ok(Answer::SeeOther(changes::PATH.to_owned())),
            Err(unnoted) => change.tell(scene, unnoted, &mut faults),
        }
    }
    page(scene, form, sent, &target, &faults).await
}

/// The page again, with why nothing was noted: at the field `key`, or at none in particular.
///
/// # Errors
///
/// The settings cannot be read now.
pub async fn refuse(
    scene: &Scene<'_>,
    form: &'static Form,
    sent: &Sent,
    key: &str,
    why: &str,
) -> Result<Answer, Unavailable> {
    let mut faults = Faults::default();
    match form.fields().find(|field| field.key == key) {
        Some(field) => faults.add(field, why.to_owned(), false),
        None => faults.add_other(why.to_owned(), false),
    }
    page(scene, form, sent, &Target::of(scene), &faults).await
}

/// The page with what was sent and what is wrong with it.
async fn page(
    scene: &Scene<'_>,
    form: &'static Form,
    sent: &Sent,
    target: &Target,
    faults: &Faults,
) -> Result<Answer, Unavailable> {
    let draft = scene.keeper()?.draft().await?;
    let page = match form.place {
        Place::List { .. } if *target == Target::All => list::all(scene, form, &draft, faults)?,
        Place::List { .. } => list::element(scene, form, &draft, target, Some(sent), faults)?,
        Place::Tables => {
            let shown = Shown {
                form,
                action: form.path.to_owned(),
                element: "",
                stored: &draft.stored,
                is_closed: draft.is_closed,
                entered: Some(sent),
                faults,
            };
            shown.render(scene)?
        }
    };
    Ok(Answer::Page(StatusCode::UNPROCESSABLE_ENTITY, page))
}

/// Removes an element of a list.
async fn remove(scene: &Scene<'_>, form: &'static Form, sent: &Sent) -> Result<Answer, Unavailable> {
    let Place::List { key, .. } = form.place else { return Ok(Answer::Broken) };
    let (Some(label), Some(shown)) = (sent.get(REMOVE), sent.get(SHOWN)) else { return Ok(Answer::Broken) };
    let element = Key::parse(key).and_then(|key| key.join(label)).map_err(Unavailable)?;
    let edits = |draft: &Draft| {
        if digest_of_all(&draft.stored, &element) == shown {
            Ok(vec![Edit { key: element.clone(), value: None }])
        } else {
            Err(Refusal::Gone)
        }
    };
    let keeper = scene.keeper()?;
    let batch = Batch { edits: Box::new(edits), view: Vec::new() };
    let mut faults = Faults::default();
    match keeper.note(&editor(scene.visitor), batch).await {
        Ok(_) => return Ok(Answer::SeeOther(changes::PATH.to_owned())),
        Err(Unnoted::Refused(_)) => {
            faults.add_other(fill(&scene.texts.form.gone, &[("name", label)]), false);
        }
        Err(Unnoted::Mistakes(mistakes)) => {
            mistakes.into_iter().for_each(|mistake| faults.add_other(mistake.text, true));
        }
        Err(Unnoted::Failed(error)) => faults.add_other(error.to_string(), true),
    }
    let draft = keeper.draft().await?;
    Ok(Answer::Page(StatusCode::CONFLICT, list::all(scene, form, &draft, &faults)?))
}

/// The label of a new element: its name if that is free, else its position.
fn label_of_new(form: &Form, sent: &Sent, stored: &Stored) -> String {
    let Place::List { key, names, .. } = form.place else { return String::new() };
    let labels = Key::parse(key).map(|key| stored.labels(&key)).unwrap_or_default();
    let mut entered = names.iter().filter_map(|name| sent.get(name)).map(str::trim);
    let name = entered.find(|name| !name.is_empty()).filter(|name| !labels.iter().any(|label| label == name));
    let free = |position: &usize| !labels.contains(&position.to_string());
    let position = || (labels.len() + 1..).find(free).unwrap_or_default().to_string();
    name.map_or_else(position, str::to_owned)
}

impl Change<'_> {
    /// The label under which the fields' values are now.
    fn label(&self) -> &str {
        match self.target {
            Target::Element(label) => label,
            Target::All | Target::New => &self.new_label,
        }
    }

    /// The fields without a value that must have one.
    fn missing(&self, scene: &Scene<'_>) -> Faults {
        let mut faults = Faults::default();
        let entries = self.form.entries(&Stored::default(), self.label()).unwrap_or_default();
        for entry in entries.iter().filter(|entry| entry.field.is_needed) {
            if entry.sent(self.sent).is_some_and(|value| value.unwrap_or_default().is_empty()) {
                faults.add(entry.field, scene.texts.form.needed.clone(), false);
            }
        }
        faults
    }

    /// The keys that the form has in view: those of its fields; of a list the element, by the former and the new name.
    fn view(&self) -> Result<Vec<Key>, String> {
        match self.form.place {
            Place::Tables => self.form.fields().map(|field| Key::parse(field.key)).collect(),
            Place::List { key, names, .. } => {
                let list = Key::parse(key)?;
                let renamed = names.iter().filter_map(|name| self.sent.get(name)).map(str::trim);
                let labels = [self.label()].into_iter().chain(renamed);
                labels.filter(|label| !label.is_empty()).map(|label| list.join(label)).collect()
            }
        }
    }

    fn edits(&self, draft: &Draft) -> Result<Vec<Edit>, Refusal> {
        match (self.form.place, self.target) {
            (Place::List { key, .. }, Target::Element(label)) => {
                let list = Key::parse(key).map_err(Refusal::NoKey)?;
                if !draft.stored.labels(&list).contains(label) {
                    return Err(Refusal::Gone);
                }
                self.of_existing(&draft.stored)
            }
            (Place::List { key, .. }, _) => self.of_new(key).map_err(Refusal::NoKey),
            (Place::Tables, _) => self.of_existing(&draft.stored),
        }
    }

    /// The edits of what is there already: of the fields that the visitor has changed.
    fn of_existing(&self, stored: &Stored) -> Result<Vec<Edit>, Refusal> {
        let entries = self.form.entries(stored, self.label()).map_err(Refusal::NoKey)?;
        let shown: Vec<_> = self.sent.get(SHOWN).unwrap_or_default().split('-').collect();
        let (mut changed, mut clashes) = (Vec::new(), Vec::new());
        for (at, entry) in entries.iter().enumerate() {
            let Some(new) = entry.sent(self.sent) else { continue };
            if entry.is(self.form, new.as_deref()) {
                continue;
            }
            let was = shown.get(at).copied().unwrap_or_default();
            if digest(entry.value.as_deref()) == was {
                changed.push((entry, new));
            } else if !self.is_untouched(entry, new.as_deref(), was) {
                clashes.push((entry.field, entry.effective(self.form)));
            }
        }
        if clashes.is_empty() { Ok(self.of_changed(stored, changed)) } else { Err(Refusal::Changed(clashes)) }
    }

    /// Whether what was sent for a field is what the form has shown, which `was` is the digest of.
    fn is_untouched(&self, entry: &Entry, new: Option<&str>, was: &str) -> bool {
        let default = self.form.default_of(entry.field);
        let is_default = new.unwrap_or_default() == default || new.is_none_or(str::is_empty);
        digest(new) == was || is_default && digest(None) == was
    }

    fn of_changed(&self, stored: &Stored, changed: Vec<(&Entry, Option<String>)>) -> Vec<Edit> {
        let names = match self.form.place {
            Place::List { names, .. } => names,
            Place::Tables => &[],
        };
        let (of_names, others): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|(entry, _)| names.contains(&entry.field.key));
        let edit = |(entry, new): (&Entry, Option<String>)| Edit {
            key: if new.as_deref().unwrap_or_default().is_empty() {
                entry.removed_key()
            } else {
                entry.key.clone()
            },
            value: entry.written(new.as_deref()),
        };
        // After one name has changed the element is called otherwise, so it comes last; two are changed with the whole
        // element.
        if of_names.len() < 2 {
            let edits = others.into_iter().chain(of_names).map(edit);
            return edits.filter(|edit| edit.value.is_some() || stored.get(&edit.key).is_some()).collect();
        }
        let parts = of_names.first().and_then(|(entry, _)| entry.key.parts().split_last());
        let element = parts.and_then(|(_, element)| Key::new(element.to_vec()).ok());
        let Some((key, mut table)) = element.and_then(|key| {
            let table = stored.get(&key)?.as_table()?.clone();
            Some((key, table))
        }) else {
            return Vec::new();
        };
        for (entry, new) in others.into_iter().chain(of_names) {
            match entry.written(new.as_deref()).and_then(|value| parsed(&value)) {
                Some(value) => _ = table.insert(entry.field.key.to_owned(), value),
                None => _ = table.remove(entry.field.key),
            }
        }
        vec![Edit { key, value: Some(toml::Value::Table(table).to_string()) }]
    }

    /// The edit that makes a new element.
    fn of_new(&self, list: &str) -> Result<Vec<Edit>, String> {
        let key = Key::parse(list)?.join(&self.new_label)?;
        let entries = self.form.entries(&Stored::default(), &self.new_label)?;
        let mut table = toml::Table::new();
        for entry in &entries {
            let new = entry.sent(self.sent).filter(|new| !entry.is(self.form, new.as_deref()));
            let written = new.and_then(|new| entry.written(new.as_deref()));
            if let Some(value) = written.and_then(|value| parsed(&value)) {
                table.insert(entry.field.key.to_owned(), value);
            }
        }
        Ok(vec![Edit { key, value: Some(toml::Value::Table(table).to_string()) }])
    }

    /// Why nothing was noted, each reason at the field that it is about.
    fn tell(&self, scene: &Scene<'_>, unnoted: Unnoted<Refusal>, faults: &mut Faults) {
        let words = &scene.texts.form;
        match unnoted {
            Unnoted::Refused(Refusal::Changed(clashes)) => {
                for (field, value) in clashes {
                    let value = if value.is_empty() { scene.texts.common.none.clone() } else { value };
                    faults.add(field, fill(&words.changed, &[("value", &value)]), false);
                }
            }
            Unnoted::Refused(Refusal::Gone) => {
                faults.add_other(fill(&words.gone, &[("name", self.label())]), false);
            }
            Unnoted::Refused(Refusal::NoKey(why)) => faults.add_other(why, true),
            Unnoted::Mistakes(mistakes) => {
                for mistake in mistakes {
                    match self.field_of(&mistake) {
                        Some(field) => faults.add(field, mistake.text, true),
                        None => faults.add_other(mistake.text, true),
                    }
                }
            }
            Unnoted::Failed(error) => {
                error.messages().iter().for_each(|message| faults.add_other(message.clone(), true));
            }
        }
    }

    /// The field that a mistake is about.
    fn field_of(&self, mistake: &Mistake) -> Option<&'static Field> {
        let parts = mistake.key.as_ref()?.parts();
        let inside = match self.form.place {
            Place::Tables => parts,
            Place::List { key, .. } => {
                let list = Key::parse(key).ok()?;
                parts.strip_prefix(list.parts())?.get(1..)?
            }
        };
        let is_of = |field: &&Field| Key::parse(field.key).is_ok_and(|key| inside.starts_with(key.parts()));
        self.form.fields().find(is_of)
    }
}

/// A value in TOML.
fn parsed(value: &str) -> Option<toml::Value> {
    let mut table: toml::Table = toml::from_str(&format!("value = {value}")).ok()?;
    table.remove("value")
}

#[cfg(test)]
mod tests {
    use gatepost_services::http::Request;

    use super::super::Group;
    use super::super::value::digests;
    use super::*;
    use crate::admin::tests::request;

    const RESERVATIONS: Form = Form {
        path: "/reservations",
        place: Place::List {
            key: "dhcp.reservations",
            names: &["hostname", "address"],
            columns: &["hostname"],
        },
        groups: &[Group {
            name: "reservation",
            fields: &[Field::text("hostname"), Field::text("mac"), Field::text("address")],
        }],
    };

    const FILE: &str = "[[dhcp.reservations]]\nhostname = 'a'\nmac = '02:00:00:00:00:20'\naddress = '192.168.1.8'\n\
                        boot_file = 'x'\n";

    /// The edits of the element `a`, or of a new one, for these fields.
    fn edits(target: &Target, fields: &str) -> Vec<String> {
        let draft = Draft { stored: Stored::read(FILE).expect("TOML"), ..Draft::default() };
        let shown = digests(&RESERVATIONS.entries(&draft.stored, "a").expect("short"));
        let query = Some(format!("{fields}&{SHOWN}={shown}"));
        let sent = Sent::of_query(&Request { query, ..request("/") });
        let new_label = label_of_new(&RESERVATIONS, &sent, &draft.stored);
        let change = Change { form: &RESERVATIONS, target, sent: &sent, new_label };
        let edits = change.edits(&draft).unwrap_or_else(|_| panic!("{fields}"));
        edits.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_name_of_an_element_changes_last_and_two_change_with_all_of_it() {
        let element = Target::Element("a".to_owned());
        assert_eq!(
            edits(&element, "hostname=b&mac=02:00:00:00:00:21&address=192.168.1.8"),
            ["dhcp.reservations.a.mac = \"02:00:00:00:00:21\"", "dhcp.reservations.a.hostname = \"b\""]
        );
        assert_eq!(
            edits(&element, "hostname=&mac=02:00:00:00:00:20&address=192.168.1.8"),
            ["dhcp.reservations.a.hostname is removed"]
        );
        let both = edits(&element, "hostname=b&mac=02:00:00:00:00:20&address=192.168.1.9");
        assert_eq!(both.len(), 1);
        for part in [
            "dhcp.reservations.a = {",
            "\"b\"",
            "\"192.168.1.9\"",
            "\"02:00:00:00:00:20\"",
            "boot_file = \"x\"",
        ] {
            assert!(both[0].contains(part), "{part}: {both:?}");
        }
    }

    #[test]
    fn a_new_element_is_called_by_its_first_name_or_else_by_its_position() {
        let key = |fields: &str| {
            let edits = edits(&Target::New, fields);
            edits[0].split(" = ").next().expect("a key").to_owned()
        };
        assert_eq!(key("hostname=b&mac=02:00:00:00:00:21&address=192.168.1.9"), "dhcp.reservations.b");
        assert_eq!(key("hostname=&address=192.168.1.9"), "dhcp.reservations.\"192.168.1.9\"");
        assert_eq!(key("hostname=a&address=192.168.1.9"), "dhcp.reservations.2", "it is taken");
    }
}
