//! Names of tables as they come on the command line: exactly as the database keeps them, upper
//! case, spaces and quotes included. They are only ever compared, never made part of a statement.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A list of names separated by commas. A comma or backslash that belongs to a name has a
/// backslash before it; nothing else is special, no space is trimmed, and the empty text is the
/// empty list.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TableNames(pub Vec<String>);

impl TableNames {
    /// Returns the list of these names, each taken literally.
    pub fn of<S: AsRef<str>>(names: &[S]) -> Self {
        Self(names.iter().map(|name| name.as_ref().to_owned()).collect())
    }
}

impl FromStr for TableNames {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let mut names = Vec::new();
        let mut name = String::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => name.push(characters.next().unwrap_or('\\')),
                ',' => names.push(std::mem::take(&mut name)),
                other => name.push(other),
            }
        }
        names.push(name);
        // No table has an empty name, so a comma too many means nothing.
        names.retain(|name| !name.is_empty());
        Ok(Self(names))
    }
}

/// The inverse of parsing: what to put on a command line.
impl fmt::Display for TableNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, name) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            f.write_str(&name.replace('\\', "\\\\").replace(',', "\\,"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(names in proptest::collection::vec(".{1,20}", 0..6)) {
            let names = TableNames(names);
            let Ok(read) = names.to_string().parse::<TableNames>();
            prop_assert_eq!(read, names);
        }
    }

    #[test]
    fn names_are_taken_literally() {
        let Ok(read) = r#"Orders,weird "one", two,a.b,a\,b,back\\slash,"#.parse::<TableNames>();
        assert_eq!(read.0, ["Orders", "weird \"one\"", " two", "a.b", "a,b", "back\\slash"]);
    }

    #[test]
    fn the_empty_text_is_the_empty_list() {
        let Ok(read) = "".parse::<TableNames>();
        assert_eq!(read, TableNames::default());
    }
}
