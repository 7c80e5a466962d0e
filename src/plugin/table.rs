//! Aligned columns. The last column is wrapped at the width of the screen.

use super::paint::{Paint, Screen};

/// The space between two columns.
const GAP: &str = "   ";
/// The least width of the last column.
const LEAST: usize = 40;

/// One cell of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    paint: Paint,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        // A line break in a name or message would break the table.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { text: clean(&text), paint: Paint::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Cell {
    /// Returns a cell in a colour.
    pub(super) fn painted(text: impl Into<Self>, paint: Paint) -> Self {
        Self { paint, ..text.into() }
    }
}

/// A table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    header: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Returns an empty table.
    pub(super) fn new(header: &[&str]) -> Self {
        let bold = |name: &&str| Cell::painted(*name, Paint::Bold);
        Self { header: header.iter().map(bold).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn add<const N: usize>(&mut self, row: [Cell; N]) {
        self.rows.push(row.into());
    }

    /// Returns the lines of the table. A column without any text is left out.
    pub(super) fn render(&self, screen: Screen) -> String {
        let columns: Vec<usize> = (0..self.header.len())
            .filter(|column| self.rows.iter().any(|row| !text(row, *column).is_empty()))
            .collect();
        let all: Vec<&Vec<Cell>> = std::iter::once(&self.header).chain(&self.rows).collect();
        let width = |column: usize| {
            all.iter().map(|row| text(row, column).chars().count()).max().unwrap_or_default()
        };
        let Some((last, before)) = columns.split_last() else { return String::new() };
        let indent: usize = before.iter().map(|column| width(*column) + GAP.len()).sum();
        let left = screen.width.saturating_sub(indent).max(LEAST);
        let mut lines = String::new();
        for row in &all {
            let mut line = String::new();
            for column in before {
                let text = text(row, *column);
                line += &painted(row, *column, text, screen);
                line += &" ".repeat(width(*column) - text.chars().count() + GAP.len());
            }
            for (number, part) in wrap(text(row, *last), left).iter().enumerate() {
                if number > 0 {
                    line += "\n";
                    line += &" ".repeat(indent);
                }
                line += &painted(row, *last, part, screen);
            }
            lines += line.trim_end();
            lines.push('\n');
        }
        lines
    }
}

fn text(row: &[Cell], column: usize) -> &str {
    row.get(column).map(|cell| cell.text.as_str()).unwrap_or_default()
}

fn painted(row: &[Cell], column: usize, text: &str, screen: Screen) -> String {
    screen.paint(text, row.get(column).map(|cell| cell.paint).unwrap_or_default())
}

/// Returns a text without control characters: a message from the cluster must not control the terminal.
pub(super) fn clean(text: &str) -> String {
    let visible = |c: char| c.is_whitespace() || !c.is_control();
    text.chars().map(|c| if visible(c) { c } else { '\u{fffd}' }).collect()
}

/// Returns the lines of a text, none longer than `width` where its words permit.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        let length = line.chars().count();
        if length > 0 && length + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if length > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// Returns lines of a name and a text each, the texts aligned and wrapped. Lines without a text are left out.
pub(super) fn facts(facts: &[(&str, String)], screen: Screen) -> String {
    let facts: Vec<_> = facts.iter().filter(|(_, text)| !text.is_empty()).collect();
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let indent = width + GAP.len();
    let left = screen.width.saturating_sub(indent).max(LEAST);
    let line = |(name, text): &(&str, String)| {
        let spaces = " ".repeat(indent - name.chars().count());
        let text = wrap(&clean(text), left).join(&format!("\n{}", " ".repeat(indent)));
        format!("{}{spaces}{text}\n", screen.paint(name, Paint::Bold))
    };
    facts.into_iter().map(line).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_last_one_is_wrapped() {
        let mut table = Table::new(&["NAME", "EMPTY", "MESSAGE"]);
        table.add([Cell::painted("a", Paint::Red), "".into(), "short".into()]);
        table.add(["długi".into(), "".into(), format!("{}end", "word ".repeat(9)).into()]);
        let narrow = Screen { width: 10, ..Screen::plain() };
        let text = "\
NAME    MESSAGE
a       short
długi   word word word word word word word word
        word end
";
        assert_eq!(table.render(narrow), text);
        let coloured = Screen { colours: true, ..narrow };
        let red = table.render(coloured);
        assert!(red.contains("\u{1b}[31ma\u{1b}[0m       short"), "{red}");
    }

    #[test]
    fn a_message_does_not_control_the_terminal() {
        let mut table = Table::new(&["MESSAGE"]);
        table.add(["a\u{1b}[2Jb\u{7}\nc".into()]);
        assert_eq!(table.render(Screen::plain()), "MESSAGE\na\u{fffd}[2Jb\u{fffd} c\n");
        let text = facts(&[("Message", "\u{1b}c".to_owned())], Screen::plain());
        assert_eq!(text, "Message   \u{fffd}c\n");
    }

    #[test]
    fn facts_without_a_text_are_left_out() {
        let all = [("Phase", "Awake".to_owned()), ("Step", String::new()), ("Next", "x".into())];
        assert_eq!(facts(&all, Screen::plain()), "Phase   Awake\nNext    x\n");
    }
}
