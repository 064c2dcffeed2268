//! Ends of lines, in octets that come in parts.

/// Makes LF that has no CR before it CRLF.
#[derive(Clone, Copy, Debug, Default)]
pub struct ToCrlf {
    was_cr: bool,
}

impl ToCrlf {
    /// Adds `part` to `out`.
    pub fn push(&mut self, part: &[u8], out: &mut Vec<u8>) {
        for octet in part {
            if *octet == b'\n' && !self.was_cr {
                out.push(b'\r');
            }
            out.push(*octet);
            self.was_cr = *octet == b'\r';
        }
    }
}

/// Converts CRLF to LF, so that [`ToCrlf`] restores it: a CRLF after a CR stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct ToLf {
    /// Whether a CR is held back.
    has_cr: bool,
    /// Whether there is a CR before that.
    is_behind_cr: bool,
}

impl ToLf {
    /// Adds `part` to `out`.
    pub fn push(&mut self, part: &[u8], out: &mut Vec<u8>) {
        for octet in part {
            if self.has_cr && (*octet != b'\n' || self.is_behind_cr) {
                out.push(b'\r');
            }
            self.is_behind_cr = self.has_cr && *octet == b'\r';
            self.has_cr = *octet == b'\r';
            if !self.has_cr {
                out.push(*octet);
            }
        }
    }

    /// Ends the text.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.has_cr {
            out.push(b'\r');
            self.has_cr = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to_crlf(parts: &[Vec<u8>]) -> Vec<u8> {
        let (mut lines, mut out) = (ToCrlf::default(), Vec::new());
        parts.iter().for_each(|part| lines.push(part, &mut out));
        out
    }

    fn to_lf(parts: &[Vec<u8>]) -> Vec<u8> {
        let (mut lines, mut out) = (ToLf::default(), Vec::new());
        parts.iter().for_each(|part| lines.push(part, &mut out));
        lines.finish(&mut out);
        out
    }

    #[test]
    fn each_end_of_a_line_is_made_the_other_and_a_lone_cr_stays() {
        assert_eq!(to_crlf(&[b"a\r".to_vec(), b"\nb\n\n\rc".to_vec()]), b"a\r\nb\r\n\r\n\rc");
        assert_eq!(to_lf(&[b"a\r".to_vec(), b"\nb\r\r\n\rc\r".to_vec()]), b"a\nb\r\r\n\rc\r");
    }

    proptest! {
        #[test]
        fn a_message_comes_back_whole(
            parts in prop::collection::vec(prop::sample::select(vec![&b"a"[..], b"\r", b"\r\n"]), 0..12)
        ) {
            let octets: Vec<_> = parts.iter().map(|part| part.to_vec()).collect();
            prop_assert_eq!(to_crlf(&[to_lf(&octets)]), octets.concat());
        }

        #[test]
        fn text_with_lf_comes_back_whole(
            parts in prop::collection::vec(prop::collection::vec(prop::sample::select(b"a\n".to_vec()), 0..6), 0..6)
        ) {
            prop_assert_eq!(to_lf(&[to_crlf(&parts)]), parts.concat());
        }
    }
}
