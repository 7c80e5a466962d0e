//! Colours, on a terminal only.

use std::io::IsTerminal;

/// A colour of the terminal.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Paint {
    /// No colour.
    #[default]
    Plain,
    /// A heading.
    Bold,
    /// A detail.
    Dim,
    /// All is well.
    Green,
    /// Reconciling.
    Yellow,
    /// A person is needed.
    Red,
}

/// The output: whether it shows colours, and its width.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Screen {
    /// Whether colours are shown.
    pub(super) colours: bool,
    /// Whether somebody looks at a terminal.
    pub(super) terminal: bool,
    /// The width in columns.
    pub(super) width: usize,
}

impl Screen {
    /// The width where none is known.
    const WIDTH: usize = 120;

    /// Returns the standard output: colours on a terminal only, and not with `NO_COLOR`.
    pub(super) fn stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self {
            colours: terminal && !set("NO_COLOR") && !dumb,
            terminal: terminal && !dumb,
            width: width.filter(|_| terminal).unwrap_or(Self::WIDTH),
        }
    }

    /// Returns an output without colours, as files have it.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self { colours: false, terminal: false, width: Self::WIDTH }
    }

    /// Returns a text in a colour.
    pub(super) fn paint(self, text: &str, paint: Paint) -> String {
        let code = match paint {
            _ if !self.colours || text.is_empty() => return text.to_owned(),
            Paint::Plain => return text.to_owned(),
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Green => "32",
            Paint::Yellow => "33",
            Paint::Red => "31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_no_colours() {
        let plain = Screen::plain();
        let coloured = Screen { colours: true, ..plain };
        assert_eq!(plain.paint("Ready", Paint::Green), "Ready");
        assert_eq!(coloured.paint("Ready", Paint::Green), "\u{1b}[32mReady\u{1b}[0m");
        assert_eq!(coloured.paint("", Paint::Green), "");
    }
}
