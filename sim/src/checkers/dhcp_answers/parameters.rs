//! The options that the DHCP server has to send to a client: a reservation takes precedence over the matches, the first
//! match over later ones, and all of them over the parameters of all clients.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, Message, OptionCode};
use gatepost::config::ReservedFor;
use gatepost::config::services::Dhcp;
use gatepost_services::dhcp::server::{Criteria, Parameters, Pattern};

const USER_CLASS: u8 = 77;
const VENDOR_CLASS: u8 = 60;
const ARCHITECTURE: u8 = 93;
const BOOT_FILE: u8 = 67;
/// The octets of the field for the boot file, which ends with NUL.
const FILE_LEN: usize = 128;
/// The maximum number of requests whose answers are outstanding.
const ASKED_MAX: usize = 4_096;

/// The outstanding requests, each with the configurations that may decide on its answer.
pub(super) struct AdvertisedParameters {
    /// The configuration in force, and those that a reload may have put in force.
    wanted: Vec<Dhcp>,
    asked: BTreeMap<(Vec<u8>, u32), (Message, Vec<Dhcp>)>,
}

impl AdvertisedParameters {
    pub fn new(wanted: &Dhcp) -> Self {
        Self { wanted: vec![wanted.clone()], asked: BTreeMap::new() }
    }

    pub fn may_be(&mut self, wanted: &Dhcp) {
        self.wanted.push(wanted.clone());
    }

    pub fn is(&mut self, wanted: &Dhcp) {
        self.wanted = vec![wanted.clone()];
    }

    pub fn note_question(&mut self, message: &Message) {
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_first();
        }
        let key = (message.chaddr().to_vec(), message.xid());
        self.asked.insert(key, (message.clone(), self.wanted.clone()));
    }

    /// Verifies the options and boot fields of an OFFER or an ACK.
    pub fn check(&self, answer: &Message) -> Result<(), String> {
        let key = (answer.chaddr().to_vec(), answer.xid());
        let Some((question, wanted)) = self.asked.get(&key) else { return Ok(()) };
        let mut verdict = Ok(());
        for dhcp in wanted.iter().chain(&self.wanted) {
            verdict = tells(dhcp, question, answer);
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }
}

/// The parameters that a configuration has for one client.
pub(in crate::checkers) struct Layers<'a> {
    particular: Vec<&'a Parameters>,
    general: &'a Parameters,
}

impl<'a> Layers<'a> {
    /// The parameters that `dhcp` has for the client that sent `question`.
    pub(in crate::checkers) fn of(dhcp: &'a Dhcp, question: &Message) -> Self {
        let id = content(question, u8::from(OptionCode::ClientIdentifier)).filter(|_| !dhcp.ignore_client_id);
        let is_id = |it: &&ReservedFor| matches!(it, ReservedFor::ClientId(reserved) if id.as_ref() == Some(reserved));
        let is_mac = |it: &&ReservedFor| matches!(it, ReservedFor::Mac(mac) if question.chaddr() == mac.0);
        let by_id = dhcp.reservations.iter().find(|it| it.clients.iter().any(|client| is_id(&client)));
        let by_mac = || dhcp.reservations.iter().find(|it| it.clients.iter().any(|client| is_mac(&client)));
        let reserved = by_id.or_else(by_mac).map(|it| &it.parameters);
        let matching = dhcp.matches.iter().filter(|it| is_meant(&it.criteria, question));
        let particular = reserved.into_iter().chain(matching.map(|it| &it.parameters)).collect();
        Self { particular, general: &dhcp.parameters }
    }

    fn all(&self) -> impl Iterator<Item = &'a Parameters> {
        self.particular.iter().copied().chain([self.general])
    }

    /// The content of the option `code`, empty if the option must not be sent; `None` if the configuration does not
    /// say.
    pub(in crate::checkers) fn option(&self, code: u8) -> Option<&'a Vec<u8>> {
        self.all().find_map(|it| it.options.get(&code))
    }
}

fn tells(dhcp: &Dhcp, question: &Message, answer: &Message) -> Result<(), String> {
    let layers = Layers::of(dhcp, question);
    let option = |code: u8| layers.option(code);
    let all =
        dhcp.reservations.iter().map(|it| &it.parameters).chain(dhcp.matches.iter().map(|it| &it.parameters));
    let codes: BTreeSet<u8> =
        all.chain([&dhcp.parameters]).flat_map(|it| it.options.keys().copied()).collect();
    let asked = match question.opts().get(OptionCode::ParameterRequestList) {
        Some(DhcpOption::ParameterRequestList(codes)) => {
            Some(codes.iter().map(|code| u8::from(*code)).collect())
        }
        _ => None,
    };
    let is_asked = |code: &u8| asked.as_ref().is_none_or(|asked: &BTreeSet<u8>| asked.contains(code));
    let client = question.chaddr();
    for code in codes {
        let is_due = is_asked(&code) || layers.particular.iter().any(|it| it.options.contains_key(&code));
        let due = option(code).filter(|content| is_due && !content.is_empty()).cloned();
        let told = content(answer, code);
        if option(code).is_some() && told != due {
            return Err(format!("{client:02x?} gets {told:02x?} in option {code}, instead of {due:02x?}"));
        }
    }
    let server = layers.all().find_map(|it| it.next_server).unwrap_or(Ipv4Addr::UNSPECIFIED);
    if answer.siaddr() != server {
        return Err(format!("{client:02x?} is sent to {} to boot, and not to {server}", answer.siaddr()));
    }
    let file = option(BOOT_FILE).filter(|file| file.len() < FILE_LEN).cloned().unwrap_or_default();
    let field = answer.fname().unwrap_or_default();
    let field = field.split(|octet| *octet == 0).next().unwrap_or_default();
    if field != file {
        return Err(format!("{client:02x?} gets the boot file {field:02x?}, instead of {file:02x?}"));
    }
    Ok(())
}

fn is_meant(criteria: &Criteria, question: &Message) -> bool {
    let Criteria { vendor_class, user_class, architecture, mac_prefix } = criteria;
    let said = |code| content(question, code).unwrap_or_default();
    let is_like = |pattern: &Pattern, text: &[u8]| match pattern.is_prefix {
        true => text.starts_with(pattern.text.as_bytes()),
        false => text == pattern.text.as_bytes(),
    };
    let (vendor, user) = (said(VENDOR_CLASS), said(USER_CLASS));
    // The simulation's clients send one class, behind its length or alone.
    let user = match user.split_first() {
        Some((len, class)) if usize::from(*len) == class.len() => class,
        _ => &user[..],
    };
    let is_architecture = |number: &u16| said(ARCHITECTURE) == number.to_be_bytes();
    vendor_class.as_ref().is_none_or(|pattern| is_like(pattern, &vendor))
        && user_class.as_ref().is_none_or(|pattern| is_like(pattern, user))
        && architecture.as_ref().is_none_or(is_architecture)
        && mac_prefix.as_ref().is_none_or(|prefix| question.chaddr().starts_with(prefix))
}

/// The content of an option, its parts joined.
fn content(message: &Message, code: u8) -> Option<Vec<u8>> {
    let encoded = message.opts().get(OptionCode::from(code))?.to_vec().ok()?;
    let mut rest = &encoded[..];
    let mut content = Vec::new();
    while let [_, len, after @ ..] = rest {
        let (part, after) = after.split_at_checked(usize::from(*len))?;
        content.extend_from_slice(part);
        rest = after;
    }
    Some(content)
}

#[cfg(test)]
mod tests {
    use dhcproto::v4::UnknownOption;
    use gatepost::config::Config;

    use super::*;

    const CONFIG: &str = "[dhcp]\nnext_server = '192.168.1.9'\noptions = [{ code = 150, value = ['192.168.1.9'] }]\n\
                          [[dhcp.match]]\nvendor_class = 'Phone a'\noptions = [{ code = 43, hex = '0101' }]\n\
                          [[dhcp.match]]\nvendor_class = 'Phone*'\nboot_file = 'phone'\noptions = [{ code = 43, hex = '0202' }]\n\
                          [[dhcp.match]]\nuser_class = 'guest'\nnext_server = ''\noptions = [{ code = 150, value = [] }]";

    fn dhcp(text: &str) -> Dhcp {
        Config::parse("test", text).expect("a configuration").services.dhcp
    }

    fn message(options: &[(u8, &[u8])]) -> Message {
        let mut message = Message::default();
        message.set_xid(7).set_chaddr(&[2, 0, 0, 0, 0, 9]);
        for (code, content) in options {
            let option = UnknownOption::new(OptionCode::from(*code), content.to_vec());
            message.opts_mut().insert(DhcpOption::Unknown(option));
        }
        message
    }

    fn asking(options: &[(u8, &[u8])], asked: &[u8]) -> Message {
        let mut message = message(options);
        let asked = asked.iter().copied().map(OptionCode::from).collect();
        message.opts_mut().insert(DhcpOption::ParameterRequestList(asked));
        message
    }

    /// An answer with `options`, the server to boot from and the file.
    fn answer(options: &[(u8, &[u8])], server: [u8; 4], file: &str) -> Message {
        let mut message = message(options);
        message.set_siaddr(Ipv4Addr::from(server)).set_fname_str(file);
        message
    }

    const TFTP: [u8; 4] = [192, 168, 1, 9];

    #[test]
    fn what_is_told_otherwise_than_it_is_due_is_told() {
        let a = &[(60, &b"Phone a"[..])][..];
        let b = &[(60, &b"Phone b"[..])][..];
        for (who, asked, right) in [
            (a, &[150][..], answer(&[(43, &[1, 1]), (67, b"phone"), (150, &TFTP)], TFTP, "phone")),
            (b, &[][..], answer(&[(43, &[2, 2]), (67, b"phone")], TFTP, "phone")),
            (&[(77, &b"\x05guest"[..])][..], &[150][..], answer(&[], [0; 4], "")),
            (&[(77, &b"guest"[..])][..], &[150][..], answer(&[], [0; 4], "")),
            (&[][..], &[150][..], answer(&[(150, &TFTP)], TFTP, "")),
            (&[][..], &[1][..], answer(&[], TFTP, "")),
        ] {
            let mut told = AdvertisedParameters::new(&dhcp(CONFIG));
            told.note_question(&asking(who, asked));
            told.check(&right).unwrap_or_else(|mistake| panic!("{who:?} {asked:?}: {mistake}"));
            let wrong = [
                answer(&[(43, &[9]), (67, b"phone"), (150, &TFTP)], right.siaddr().octets(), "phone"),
                {
                    let mut it = right.clone();
                    it.set_siaddr(Ipv4Addr::new(1, 1, 1, 1));
                    it
                },
                {
                    let mut it = right.clone();
                    it.set_fname_str("other");
                    it
                },
                {
                    let mut it = right.clone();
                    it.opts_mut()
                        .insert(DhcpOption::Unknown(UnknownOption::new(OptionCode::from(150), vec![1; 4])));
                    it
                },
            ];
            for wrong in wrong {
                told.check(&wrong).expect_err("it is not what is due");
            }
        }
    }

    #[test]
    fn who_asks_before_a_change_may_be_answered_by_either() {
        let mut told = AdvertisedParameters::new(&dhcp(CONFIG));
        told.note_question(&asking(&[], &[1]));
        told.may_be(&dhcp(""));
        told.check(&answer(&[], TFTP, "")).expect("as before");
        told.check(&answer(&[], [0; 4], "")).expect("as from now on");
        told.is(&dhcp(""));
        told.note_question(&asking(&[], &[1]));
        told.check(&answer(&[], TFTP, "")).expect_err("that is over");
    }
}
