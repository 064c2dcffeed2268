//! clamd's protocol: a message goes out in chunks with their lengths, and one line comes back. (clamd(8), INSTREAM)

use super::Opinion;

/// What begins it: the command, of which `z` says that lines end with a NUL.
pub(super) const COMMAND: &[u8] = b"zINSTREAM\0";

/// What ends it: a chunk without octets.
pub(super) const END: [u8; 4] = [0; 4];

/// The longest line that is read, in octets.
pub const LINE_OCTETS_MAX: usize = 4096;

/// What stands before a chunk of so many octets.
pub(super) fn chunk_head(octets: usize) -> [u8; 4] {
    u32::try_from(octets).expect("chunks are short").to_be_bytes()
}

/// What the line says that came.
///
/// # Errors
///
/// It says that the message could not be looked at.
pub(super) fn read(octets: &[u8]) -> Result<Opinion, String> {
    let line = octets.split(|octet| matches!(octet, 0 | b'\n')).next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let said = line.strip_prefix("stream: ").unwrap_or(&line);
    if said == "OK" {
        Ok(Opinion::Taken { fields: String::new() })
    } else if let Some(name) = said.strip_suffix(" FOUND") {
        let text = format!("the message has malicious software in it: {}", super::printable(name));
        Ok(Opinion::Refused { is_temporary: false, text })
    } else if said.is_empty() {
        Err("it hung up".to_owned())
    } else {
        Err(format!("it answers: {}", super::printable(said)))
    }
}
