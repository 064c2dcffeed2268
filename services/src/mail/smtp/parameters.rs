//! The parameters of MAIL and RCPT. (RFC 1870 SIZE; RFC 6152 BODY; RFC 6531 SMTPUTF8; RFC 3461 DSN; RFC 4954 AUTH)

use super::reply::{BAD_PARAMETER, Reply, UNKNOWN_PARAMETER};

/// The longest envelope identifier as it is sent, in octets. (RFC 3461, section 4.4)
const ENVID_OCTETS_MAX: usize = 100;
/// The longest original recipient as it is sent, in octets. (RFC 3461, section 4.2)
const ORCPT_OCTETS_MAX: usize = 500;

/// RET: what a failure notice returns of the message. (RFC 3461, section 4.3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

/// NOTIFY: the events of which the sender is notified. (RFC 3461, section 4.1)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// That it was delivered.
    pub success: bool,
    /// That it cannot be.
    pub failure: bool,
    /// A delay.
    pub delay: bool,
}

/// ORCPT: the sender's name for a recipient. (RFC 3461, section 4.2)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalRecipient {
    /// The kind of address, such as `rfc822`.
    pub address_type: String,
    /// The address, decoded. It has no control character.
    pub address: String,
}

/// The parameters of MAIL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// The message's octets, about. (RFC 1870)
    pub size: Option<u64>,
    /// Whether the body can have octets above 127. (RFC 6152)
    pub is_8bit: bool,
    /// Whether addresses and header can be outside of ASCII. (RFC 6531)
    pub smtputf8: bool,
    /// RET.
    pub ret: Option<Return>,
    /// ENVID, decoded: printable ASCII.
    pub envid: Option<String>,
    /// The user that another server has authenticated, decoded, if valid; empty for `<>`. To be trusted from a trusted
    /// client only.
    pub auth: Option<String>,
}

/// The parameters of RCPT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RcptParameters {
    /// NOTIFY; `None` leaves it to the server.
    pub notify: Option<Notify>,
    /// ORCPT, if valid.
    pub orcpt: Option<OriginalRecipient>,
}

impl RcptParameters {
    /// Whether the sender wants no notice: `NOTIFY=NEVER`. (RFC 3461, section 4.1)
    pub fn is_silent(&self) -> bool {
        self.notify == Some(Notify { success: false, failure: false, delay: false })
    }

    /// These parameters for a forwarded copy besides the delivered one: success is reported for the latter alone. (RFC
    /// 3461, section 5.2.7.3)
    pub fn without_success(self) -> Self {
        let notify = self.notify.map(|notify| Notify { success: false, ..notify });
        Self { notify, ..self }
    }
}

impl MailParameters {
    /// Reads `text`, which follows the path.
    pub(in crate::mail) fn parse(text: &str) -> Result<Self, Reply> {
        let mut this = Self::default();
        for parameter in parameters(text)? {
            let (keyword, value) = parameter?;
            match (keyword.as_str(), value) {
                ("SIZE", Some(value)) => this.size = Some(size(value)?),
                ("BODY", Some(value)) => {
                    let is_8bit = value.eq_ignore_ascii_case("8BITMIME");
                    if !is_8bit && !value.eq_ignore_ascii_case("7BIT") {
                        return Err(BAD_PARAMETER);
                    }
                    this.is_8bit = is_8bit;
                }
                ("SMTPUTF8", None) => this.smtputf8 = true,
                ("RET", Some(value)) if value.eq_ignore_ascii_case("FULL") => {
                    this.ret = Some(Return::Full);
                }
                ("RET", Some(value)) if value.eq_ignore_ascii_case("HDRS") => {
                    this.ret = Some(Return::Headers);
                }
                ("ENVID", Some(value)) if value.len() <= ENVID_OCTETS_MAX => {
                    let envid = from_xtext(value).filter(|text| text.is_ascii());
                    this.envid = Some(envid.ok_or(BAD_PARAMETER)?);
                }
                ("AUTH", Some("<>")) => this.auth = Some(String::new()),
                // An invalid value is ignored, as it is no reason to reject the message.
                ("AUTH", Some(value)) => this.auth = from_xtext(value),
                ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "AUTH", _) => return Err(BAD_PARAMETER),
                _ => return Err(UNKNOWN_PARAMETER),
            }
        }
        Ok(this)
    }
}

impl RcptParameters {
    /// Reads `text`, which follows the path.
    pub(in crate::mail) fn parse(text: &str) -> Result<Self, Reply> {
        let mut this = Self::default();
        for parameter in parameters(text)? {
            let (keyword, value) = parameter?;
            match (keyword.as_str(), value) {
                ("NOTIFY", Some(value)) => this.notify = Some(notify(value).ok_or(BAD_PARAMETER)?),
                ("ORCPT", Some(value)) if value.len() <= ORCPT_OCTETS_MAX => {
                    this.orcpt = original_recipient(value).ok_or(BAD_PARAMETER)?;
                }
                ("NOTIFY" | "ORCPT", _) => return Err(BAD_PARAMETER),
                _ => return Err(UNKNOWN_PARAMETER),
            }
        }
        Ok(this)
    }
}

/// The parameters in `text`, each with its keyword in upper case, without duplicates.
fn parameters(text: &str) -> Result<impl Iterator<Item = Result<(String, Option<&str>), Reply>>, Reply> {
    if !text.is_empty() && !text.starts_with(' ') {
        return Err(BAD_PARAMETER);
    }
    let mut seen = Vec::new();
    Ok(text.split(' ').filter(|parameter| !parameter.is_empty()).map(move |parameter| {
        let (keyword, value) = match parameter.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (parameter, None),
        };
        let keyword = keyword.to_ascii_uppercase();
        if value == Some("") || seen.contains(&keyword) {
            return Err(BAD_PARAMETER);
        }
        seen.push(keyword.clone());
        Ok((keyword, value))
    }))
}

/// A number of up to 20 digits; values beyond 64 bits saturate. (RFC 1870, section 3)
fn size(value: &str) -> Result<u64, Reply> {
    let is_number = value.len() <= 20 && value.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| value.parse().unwrap_or(u64::MAX)).ok_or(BAD_PARAMETER)
}

/// `NEVER`, or others in a list. (RFC 3461, section 4.1)
fn notify(value: &str) -> Option<Notify> {
    let mut notify = Notify { success: false, failure: false, delay: false };
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(notify);
    }
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

/// `type;address`; the result holds `None` if the address is invalid, as old relays write it in other character sets.
/// (RFC 3461, section 4.2)
fn original_recipient(value: &str) -> Option<Option<OriginalRecipient>> {
    let (address_type, address) = value.split_once(';')?;
    let is_type = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if address_type.is_empty() || !address_type.chars().all(is_type) || address.is_empty() {
        return None;
    }
    // RFC 6533, section 3: an address of this type can be literal, or with its characters escaped.
    let is_utf8 = address_type.eq_ignore_ascii_case("utf-8");
    let address = match is_utf8 {
        true if !address.is_ascii() => Some(address.to_owned()),
        true => from_xtext(address).and_then(|text| without_numbers(&text)),
        false => from_xtext(address),
    };
    let address = address.filter(|address| !address.chars().any(char::is_control));
    let address_type = address_type.to_ascii_lowercase();
    Some(address.map(|address| OriginalRecipient { address_type, address }))
}

/// `text` with escapes such as `\x{FC}` decoded. (RFC 6533, section 3)
fn without_numbers(text: &str) -> Option<String> {
    let mut parts = text.split('\\');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (number, rest) = part.strip_prefix("x{")?.split_once('}')?;
        let is_number =
            (2..=6).contains(&number.len()) && number.bytes().all(|octet| octet.is_ascii_hexdigit());
        plain.push(char::from_u32(u32::from_str_radix(number, 16).ok().filter(|_| is_number)?)?);
        plain.push_str(rest);
    }
    Some(plain)
}

/// The decoded xtext `value`, without control characters; `None` if it is invalid. (RFC 3461, section 4)
pub(in crate::mail) fn from_xtext(value: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'+' => {
                let digits = [rest.next()?, rest.next()?];
                octets.push(*data_encoding::HEXUPPER_PERMISSIVE.decode(&digits).ok()?.first()?);
            }
            b'=' => return None,
            b'!'..=b'~' => octets.push(octet),
            _ => return None,
        }
    }
    let text = String::from_utf8(octets).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(text: &str) -> Result<MailParameters, Reply> {
        MailParameters::parse(text)
    }

    fn rcpt(text: &str) -> Result<RcptParameters, Reply> {
        RcptParameters::parse(text)
    }

    /// RFC 1870, section 3: A size has up to 20 digits.
    #[test]
    fn rfc1870_3_a_size_has_up_to_20_digits() {
        assert_eq!(mail(" SIZE=1000").unwrap().size, Some(1000));
        assert_eq!(mail(" size=0").unwrap().size, Some(0));
        assert_eq!(mail(" SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
        for wrong in
            [" SIZE", " SIZE=", " SIZE=-1", " SIZE=+1", " SIZE=1k", " SIZE=100000000000000000000", "SIZE=1"]
        {
            assert_eq!(mail(wrong), Err(BAD_PARAMETER), "{wrong}");
        }
    }

    /// RFC 6152, section 2: The body's kind.
    #[test]
    fn rfc6152_2_the_kind_of_body() {
        assert!(mail(" BODY=8BITMIME").unwrap().is_8bit);
        assert!(mail(" Body=8bitmime SMTPUTF8").unwrap().smtputf8);
        assert!(!mail(" BODY=7BIT").unwrap().is_8bit);
        assert_eq!(mail(" BODY=BINARYMIME"), Err(BAD_PARAMETER), "it is not offered");
    }

    /// RFC 5321, section 4.1.1.11: Unknown and repeated parameters are rejected.
    #[test]
    fn rfc5321_4_1_1_11_unknown_and_repeated_parameters_are_refused() {
        assert_eq!(mail(" FOO=1"), Err(UNKNOWN_PARAMETER));
        assert_eq!(rcpt(" SIZE=1"), Err(UNKNOWN_PARAMETER));
        assert_eq!(mail(" SIZE=1 SIZE=1"), Err(BAD_PARAMETER));
        assert_eq!(mail(" SMTPUTF8=1"), Err(BAD_PARAMETER));
        assert_eq!(rcpt(" NOTIFY"), Err(BAD_PARAMETER));
        assert_eq!(mail("  BODY=7BIT  SIZE=1 ").unwrap().size, Some(1), "spaces are overlooked");
    }

    /// RFC 3461, section 4: Reports of delivery.
    #[test]
    fn rfc3461_4_reports_of_delivery() {
        let read = mail(" RET=HDRS ENVID=QQ+2B314").unwrap();
        assert_eq!((read.ret, read.envid.as_deref()), (Some(Return::Headers), Some("QQ+314")));
        let read = rcpt(" NOTIFY=SUCCESS,delay ORCPT=rfc822;Bob+3Db@c.example").unwrap();
        assert_eq!(read.notify, Some(Notify { success: true, failure: false, delay: true }));
        let orcpt = OriginalRecipient { address_type: "rfc822".into(), address: "Bob=b@c.example".into() };
        assert_eq!(read.orcpt, Some(orcpt));
        let never = Notify { success: false, failure: false, delay: false };
        assert_eq!(rcpt(" NOTIFY=never").unwrap().notify, Some(never));
        assert_eq!(rcpt(" ORCPT=utf-8;jürgen@c.example").unwrap().orcpt.unwrap().address, "jürgen@c.example");
        for wrong in [
            " NOTIFY=NEVER,SUCCESS",
            " NOTIFY=SUCCESS,,DELAY",
            " NOTIFY=LATER",
            " ORCPT=rfc822",
            " ORCPT=;a@b",
            " ORCPT=rfc822;",
            " ORCPT=rfc 822;a",
        ] {
            assert_eq!(rcpt(wrong).err().map(|reply| reply.enhanced), Some("5.5.4"), "{wrong}");
        }
        for unread in ["a+2", "a+2g", "a+0D+0AX-Evil:", "jürgen", "J+FCrgen@c.example"] {
            let read = rcpt(&format!(" NOTIFY=NEVER ORCPT=rfc822;{unread}"));
            assert_eq!(read, Ok(RcptParameters { notify: Some(never), orcpt: None }), "{unread}");
        }
        assert_eq!(rcpt(" ORCPT=rfc822;a+2bb@c.example").unwrap().orcpt.unwrap().address, "a+b@c.example");
        for wrong in [" RET=SOME", " ENVID=a=b", " ENVID=+0A", " ENVID=+C3+BC", " ENVID=+"] {
            assert_eq!(mail(wrong), Err(BAD_PARAMETER), "{wrong}");
        }
        assert!(mail(&format!(" ENVID={}", "x".repeat(ENVID_OCTETS_MAX))).is_ok());
        assert_eq!(mail(&format!(" ENVID={}", "x".repeat(ENVID_OCTETS_MAX + 1))), Err(BAD_PARAMETER));
        let orcpt = |len: usize| format!(" ORCPT=rfc822;{}", "x".repeat(len - "rfc822;".len()));
        assert!(rcpt(&orcpt(ORCPT_OCTETS_MAX)).is_ok());
        assert_eq!(rcpt(&orcpt(ORCPT_OCTETS_MAX + 1)), Err(BAD_PARAMETER));
    }

    /// RFC 6533, section 3: Characters of an original recipient can stand by their numbers.
    #[test]
    fn rfc6533_3_characters_of_an_original_recipient_can_stand_by_their_numbers() {
        let address =
            |text: &str| rcpt(&format!(" ORCPT=utf-8;{text}")).unwrap().orcpt.map(|orcpt| orcpt.address);
        assert_eq!(address("j\\x{FC}r\\x{1F600}@c.example").unwrap(), "jür\u{1F600}@c.example");
        assert_eq!(address("a\\x{2B}b\\x{5C}").unwrap(), "a+b\\");
        let wrong = [
            "\\",
            "\\x",
            "\\x{",
            "\\x{}",
            "\\x{F}",
            "\\x{0A}",
            "\\x{D800}",
            "\\x{110000}",
            "\\x{+F}",
            "\\y{FC}",
        ];
        for wrong in wrong {
            assert_eq!(address(wrong), None, "{wrong}");
        }
        assert_eq!(rcpt(" ORCPT=rfc822;j\\x{FC}").unwrap().orcpt.unwrap().address, "j\\x{FC}");
    }

    /// RFC 4954, section 5: Whom another server saw log in.
    #[test]
    fn rfc4954_5_whom_another_server_saw_log_in() {
        assert_eq!(mail(" AUTH=e+3Dmc2@example.com").unwrap().auth.as_deref(), Some("e=mc2@example.com"));
        assert_eq!(mail(" AUTH=<>").unwrap().auth.as_deref(), Some(""));
        let read = mail(" AUTH=anna+2btag@example.com").unwrap();
        assert_eq!(read.auth.as_deref(), Some("anna+tag@example.com"), "Exim writes it so");
        assert_eq!(
            mail(" AUTH=+0 SIZE=1"),
            Ok(MailParameters { size: Some(1), ..MailParameters::default() })
        );
    }
}
