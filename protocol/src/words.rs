//! Enums that are words in JSON, for the status and for answers to operators. A word of a
//! newer release is no error.

/// An enum of words; a reader of an older release takes `Unknown` for a new one.
macro_rules! words {
    (
        $(#[$about:meta])*
        $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$about])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
        )]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
            /// A newer release has a word for it.
            #[default]
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl $name {
            /// All that this release knows, in the order in which they are declared.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word that the JSON has.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Unknown => "unknown",
                }
            }
        }
    };
}
pub(crate) use words;
