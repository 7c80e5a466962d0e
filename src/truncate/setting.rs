//! The names of settings in messages: a person at a terminal changes options, the author of a Hibernation its fields.

/// Who reads the messages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Reader {
    /// Whoever has typed the command.
    #[default]
    OfCommand,
    /// The author of the Hibernation whose Job runs the command.
    OfHibernation,
}

/// A setting that a message may name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Setting {
    Schema,
    Lists,
    Confirm,
    AllowReplicated,
}

impl Setting {
    /// Returns the setting's name.
    pub(super) fn name(self, reader: Reader) -> &'static str {
        match (reader, self) {
            (Reader::OfCommand, Self::Schema) => "--schema",
            (Reader::OfCommand, Self::Lists) => "the list",
            (Reader::OfCommand, Self::Confirm) => "--confirm",
            (Reader::OfCommand, Self::AllowReplicated) => "--allow-replicated",
            (Reader::OfHibernation, Self::Schema) => "spec.database.truncate.schema",
            (Reader::OfHibernation, Self::Lists) => "spec.database.truncate.tables",
            (Reader::OfHibernation, Self::Confirm) => "spec.database.truncate.confirm",
            (Reader::OfHibernation, Self::AllowReplicated) => {
                "spec.database.truncate.allowReplicated"
            }
        }
    }

    /// Returns the setting with a value, as it is written.
    pub(super) fn with(self, reader: Reader, value: &str) -> String {
        let name = self.name(reader);
        match reader {
            Reader::OfCommand => format!("{name} {value}"),
            Reader::OfHibernation => format!("{name}: {value}"),
        }
    }
}
