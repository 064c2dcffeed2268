//! Octets in hexadecimal.

/// One octet: two digits.
pub(super) fn octet(digits: &str) -> Option<u8> {
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2 && !digits.starts_with('+'))
}

/// Octets that are joined by colons.
pub(super) fn octets(text: &str) -> Option<Vec<u8>> {
    text.split(':').map(octet).collect()
}

/// Joins `octets` by colons.
pub(super) fn joined(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_two_digits_each() {
        assert_eq!(octets("00:aB:ff"), Some(vec![0, 0xab, 0xff]));
        for wrong in ["", "1", "+1", "001", "01:", "0g", "01-02", "é"] {
            assert_eq!(octets(wrong), None, "{wrong}");
        }
        assert_eq!(joined(&[0, 0xab, 0xff]), "00:ab:ff");
    }
}
