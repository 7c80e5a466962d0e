//! One field of a cron expression. The reader follows `robfig/cron`, the library behind the `schedule` of
//! a CronJob: <https://pkg.go.dev/github.com/robfig/cron/v3>.

use std::fmt;

/// The values of a field.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Values {
    /// Bit `n` stands for the value `n`.
    pub(super) bits: u64,
    /// Whether an element of the field is a star: `*` or `?`, also with the step 1, and also beside
    /// other elements.
    pub(super) star: bool,
}

/// One of the five fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    min: u32,
    max: u32,
    /// Names of the values, from `min` on.
    names: &'static [&'static str],
    /// A second number for `min`: 7 is Sunday.
    alias: Option<u32>,
}

const fn field(name: &'static str, min: u32, max: u32) -> Field {
    Field { name, min, max, names: &[], alias: None }
}

pub(super) const MINUTE: Field = field("minute", 0, 59);
pub(super) const HOUR: Field = field("hour", 0, 23);
pub(super) const DAY: Field = field("day of month", 1, 31);
pub(super) const MONTH: Field = Field {
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    ..field("month", 1, 12)
};
pub(super) const WEEKDAY: Field = Field {
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    alias: Some(7),
    ..field("day of week", 0, 6)
};

impl Field {
    /// Parses a list of elements. `special` reads the elements that only this field has. Fails with the
    /// problem of an element and its remedy.
    pub(super) fn parse(
        &self,
        text: &str,
        mut special: impl FnMut(&str) -> Result<bool, String>,
    ) -> Result<Values, String> {
        let mut values = Values::default();
        let mut elements = text.split(',').filter(|element| !element.is_empty()).peekable();
        if elements.peek().is_none() {
            return Err(format!("'{text}' has no value; write '*' for all of them"));
        }
        for element in elements {
            if !special(element)? {
                let Values { bits, star } = self.element(element)?;
                values.bits |= bits;
                values.star |= star;
            }
        }
        Ok(values)
    }

    /// Parses one element: a star, a value or a range, each with or without a step.
    pub(super) fn element(&self, text: &str) -> Result<Values, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(self.step(text, step)?)),
            None => (text, None),
        };
        let (start, end, star) = match range.split_once('-') {
            None if matches!(range, "*" | "?") => {
                (self.min, self.max, step.is_none_or(|step| step == 1))
            }
            // With a step, one value is the start of a range.
            None if step.is_some() => (self.value(range, self.max)?, self.max, false),
            None => {
                let value = self.value(range, self.alias.unwrap_or(self.max))?;
                (value, value, false)
            }
            Some(("*" | "?", end)) => {
                let min = self.min;
                return Err(format!("'{text}' is no range; write '*' or '{min}-{end}'"));
            }
            Some((start, end)) => self.range(text, start, end)?,
        };
        let mut bits = 0;
        for value in (start..=end).step_by(step.unwrap_or(1)) {
            bits |= 1 << if Some(value) == self.alias { self.min } else { value };
        }
        Ok(Values { bits, star })
    }

    fn range(&self, text: &str, first: &str, last: &str) -> Result<(u32, u32, bool), String> {
        let start = self.value(first, self.max)?;
        let mut end = self.value(last, self.alias.unwrap_or(self.max))?;
        // A week may end with its Sunday: FRI-SUN.
        if end == self.min && start > end && self.named(last).is_some() {
            end = self.alias.unwrap_or(end);
        }
        if start <= end {
            return Ok((start, end, false));
        }
        let step = text.find('/').and_then(|at| text.get(at..)).unwrap_or_default();
        let border = |value: u32, named: bool| match self.names {
            [min, .., max] if named => (if value == self.min { *min } else { *max }).to_owned(),
            _ => value.to_string(),
        };
        let max = border(self.max, self.named(first).is_some());
        let min = border(self.min, self.named(last).is_some());
        Err(format!(
            "'{text}' ends before it begins; write two ranges, '{first}-{max}{step},{min}-{last}{step}'"
        ))
    }

    fn step(&self, text: &str, step: &str) -> Result<usize, String> {
        match number(step) {
            Some(0) => Err(format!("'{text}' has the step 0; write a step of 1 or more")),
            Some(step) => Ok(usize::try_from(step).unwrap_or(usize::MAX)),
            None => {
                let (min, max) = (self.min, self.max);
                Err(format!(
                    "'{text}' has the step '{step}'; write a number, such as '{min}-{max}/2'"
                ))
            }
        }
    }

    fn value(&self, text: &str, max: u32) -> Result<u32, String> {
        let value = self.named(text).or_else(|| number(text));
        value
            .filter(|value| (self.min..=max).contains(value))
            .ok_or_else(|| format!("'{text}' is unknown; write {self}"))
    }

    fn named(&self, text: &str) -> Option<u32> {
        let at = self.names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
        Some(self.min + u32::try_from(at).ok()?)
    }
}

/// Writes the values that the field accepts.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)?;
        match self.names {
            [first, .., last] => write!(f, ", or {first} to {last}"),
            _ => Ok(()),
        }
    }
}

/// Returns the number that consists of digits alone.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}
