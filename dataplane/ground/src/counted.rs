//! A macro for structs of counters, with their meanings and their reports in one definition.

/// Defines a struct of counters. The fields' documentation is the glossary's text: one sentence or more for each
/// field, without links.
///
/// The macro also defines, for the `u64` fields in their order, `GLOSSARY` with names and meanings and `iter` with
/// names and counts, and `+=` for two structs. Fields of other types come last, begin with `#[serde(skip)]` and take
/// part in `+=` only. The calling crate depends on `serde`.
#[macro_export]
macro_rules! counters {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $($(#[doc = $doc:literal])+ pub $field:ident: u64,)+
            $(#[serde(skip)] $(#[doc = $other_doc:literal])+ pub $other:ident: $type:ty,)*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: u64,)+
            $(#[serde(skip)] $(#[doc = $other_doc])+ pub $other: $type,)*
        }

        impl $name {
            /// The names of the counters with their meanings.
            pub const GLOSSARY: &[(&str, &str)] =
                &[$((stringify!($field), concat!($($doc),+).trim_ascii()),)+];

            /// The names of the counters with their counts.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }
        }

        impl core::ops::AddAssign<&Self> for $name {
            fn add_assign(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
                $(self.$other += &other.$other;)*
            }
        }
    };
}

#[cfg(test)]
mod tests {
    counters! {
        /// Frames.
        pub struct Frames {
            /// Frames
            /// that came.
            pub received: u64,
            /// Frames that went.
            pub sent: u64,
            #[serde(skip)]
            /// Another's.
            pub other: u32,
        }
    }

    #[test]
    fn what_is_counted_has_a_name_a_meaning_and_a_sum() {
        assert_eq!(Frames::GLOSSARY, [("received", "Frames that came."), ("sent", "Frames that went.")]);
        let mut sum = Frames { received: 1, sent: 2, other: 3 };
        sum += &Frames { received: 10, sent: 20, other: 30 };
        assert_eq!(sum.other, 33);
        assert!(sum.iter().eq([("received", 11), ("sent", 22)]));
    }
}
