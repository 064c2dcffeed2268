//! The options of IPv4 and TCP headers, which share one format. (RFC 791, section 3.1; RFC 9293, section 3.1)

use super::Malformed;

/// One option of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderOption<'a> {
    /// The option's type.
    pub kind: u8,
    /// The option's offset among the options, in octets.
    pub offset: usize,
    /// All octets of the option, type and length included: at least two.
    pub bytes: &'a [u8],
}

/// Walks over a header's options, without the padding.
///
/// Ends after the first [`Malformed::Options`].
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
    offset: usize,
}

const END: u8 = 0;
const NO_OPERATION: u8 = 1;

impl<'a> Options<'a> {
    /// The options in `bytes`: all that follows the fixed part of the header.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, offset: 0 }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<HeaderOption<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [NO_OPERATION, rest @ ..] = self.rest {
            self.rest = rest;
            self.offset += 1;
        }
        let (kind, len) = match *self.rest {
            [] | [END, ..] => return None,
            [kind] => (kind, 0),
            [kind, len, ..] => (kind, usize::from(len)),
        };
        let Some((bytes, rest)) = self.rest.split_at_checked(len).filter(|_| len >= 2) else {
            self.rest = &[];
            return Some(Err(Malformed::Options));
        };
        let offset = self.offset;
        self.rest = rest;
        self.offset += len;
        Some(Ok(HeaderOption { kind, offset, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_operations_and_what_follows_the_end_are_padding() {
        let bytes = [1, 2, 4, 5, 180, 1, 3, 2, 0, 9, 9];
        let options: Result<Vec<_>, _> = Options::new(&bytes).collect();
        let options = options.expect("they add up");
        assert_eq!(options[0], HeaderOption { kind: 2, offset: 1, bytes: &[2, 4, 5, 180] });
        assert_eq!(options[1], HeaderOption { kind: 3, offset: 6, bytes: &[3, 2] });
        assert_eq!(options.len(), 2);
    }

    #[test]
    fn lengths_that_do_not_add_up_end_the_walk() {
        for bytes in [&[7][..], &[7, 0, 0, 0], &[7, 1, 0, 0], &[7, 5, 0, 0]] {
            let options: Vec<_> = Options::new(bytes).collect();
            assert_eq!(options, [Err(Malformed::Options)], "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked(bytes in prop::collection::vec(0u8..12, 0..40)) {
            for option in Options::new(&bytes).map_while(Result::ok) {
                prop_assert_eq!(&bytes[option.offset..][..option.bytes.len()], option.bytes);
                prop_assert_eq!(option.bytes[0], option.kind);
            }
        }
    }
}
