//! clamd's protocol: the message is sent in chunks with their lengths, and clamd answers with one line. (clamd(8),
//! INSTREAM)

use super::JudgeVerdict;

/// The command; `z` selects lines that end with a NUL.
pub(super) const COMMAND: &[u8] = b"zINSTREAM\0";

/// The end: a chunk of length zero.
pub(super) const END: [u8; 4] = [0; 4];

/// The longest line that is read, in octets.
pub const LINE_OCTETS_MAX: usize = 4096;

/// The head of a chunk of so many octets.
pub(super) fn chunk_head(octets: usize) -> [u8; 4] {
    u32::try_from(octets).expect("chunks are short").to_be_bytes()
}

/// Parses the answer.
///
/// # Errors
///
/// clamd could not scan the message.
pub(super) fn read(octets: &[u8]) -> Result<JudgeVerdict, String> {
    let line = octets.split(|octet| matches!(octet, 0 | b'\n')).next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let said = line.strip_prefix("stream: ").unwrap_or(&line);
    if said == "OK" {
        Ok(JudgeVerdict::Taken { fields: String::new() })
    } else if let Some(name) = said.strip_suffix(" FOUND") {
        let text = format!("the message has malicious software in it: {}", super::printable(name));
        Ok(JudgeVerdict::Refused { is_temporary: false, text })
    } else if said.is_empty() {
        Err("it hung up".to_owned())
    } else {
        Err(format!("it answers: {}", super::printable(said)))
    }
}
