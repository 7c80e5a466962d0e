//! The days of a month on which a cron expression fires.

use jiff::civil::Date;

use super::field::{DAY, Values, WEEKDAY};

/// The fields for the day of the month and of the week.
#[derive(Clone, Debug)]
pub(super) struct Days {
    of_month: Values,
    of_week: Values,
    /// `L`: the last day of the month.
    last: bool,
    /// `LW`: the last day of the month from Monday to Friday.
    last_workday: bool,
    /// `15W`: bit `n` stands for the day from Monday to Friday that is nearest to day `n` of the month.
    nearest: u64,
    /// `5#2`: the weekdays that count only as the first, second, ... fifth of the month.
    nth: [u64; 5],
    /// `5L`, `5#L`: the weekdays that count only as the last of the month.
    last_of_week: u64,
}

/// A month as a calendar shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Month {
    pub(super) number: u32,
    /// The weekday of its first day; 0 is Sunday.
    first: u32,
    length: u32,
}

/// Returns each day of a set. Bit `n` stands for day `n`.
pub(super) fn each(days: u64) -> impl DoubleEndedIterator<Item = i8> {
    (1..=31).filter(move |day| days & 1 << day != 0)
}

const WEEK: u64 = 0b111_1111;
const SATURDAY: u32 = 6;
const SUNDAY: u32 = 0;

impl Month {
    /// The number of months that differ in their name, first weekday or length, and more.
    pub(super) const COUNT: usize = 12 * 7 * 2;

    /// Returns an index for what the days of the month depend on, below [`COUNT`](Self::COUNT).
    pub(super) fn index(self) -> usize {
        let leap = u32::from(self.length == 29);
        (((self.number - 1) * 7 + self.first) * 2 + leap) as usize
    }

    pub(super) fn of(date: Date) -> Self {
        let first = date.first_of_month().weekday().to_sunday_zero_offset();
        Self {
            number: u32::from(date.month().unsigned_abs()),
            first: u32::from(first.unsigned_abs()),
            length: u32::from(date.days_in_month().unsigned_abs()),
        }
    }

    fn weekday(self, day: u32) -> u32 {
        (self.first + day - 1) % 7
    }

    /// Returns the days of the month that have such a weekday. Bit `n` stands for day `n`.
    fn with(self, weekdays: u64) -> u64 {
        let week = (weekdays >> self.first | weekdays << (7 - self.first)) & WEEK;
        let weeks = (0..5).fold(0, |weeks, number| weeks | week << (7 * number));
        (weeks << 1) & self.all()
    }

    fn all(self) -> u64 {
        ((1 << self.length) - 1) << 1
    }

    /// Returns the day from Monday to Friday that is nearest to a day, in the same month.
    fn workday(self, day: u32) -> u32 {
        match self.weekday(day) {
            SATURDAY if day > 1 => day - 1,
            SATURDAY => day + 2,
            SUNDAY if day < self.length => day + 1,
            SUNDAY => day - 2,
            _ => day,
        }
    }
}

impl Days {
    /// Parses the two fields. Fails with the name of the field, its problem and the remedy.
    pub(super) fn parse(of_month: &str, of_week: &str) -> Result<Self, (&'static str, String)> {
        let (mut last, mut last_workday, mut nearest) = (false, false, 0);
        let of_month = DAY.parse(of_month, |element| {
            let element = element.to_ascii_uppercase();
            match element.strip_suffix('W') {
                None if element == "L" => last = true,
                Some("L") => last_workday = true,
                Some(day) => match DAY.element(day)? {
                    Values { bits, star: false } if bits.is_power_of_two() => nearest |= bits,
                    _ => return Err(format!("'{element}' is unknown; write a day, such as '15W'")),
                },
                None => return Ok(false),
            }
            Ok(true)
        });
        let (mut nth, mut last_of_week) = ([0; 5], 0);
        let of_week = WEEKDAY.parse(of_week, |element| {
            let element = element.to_ascii_uppercase();
            let (days, which) = match element.split_once('#') {
                Some(split) => split,
                None => match element.strip_suffix('L') {
                    Some(days) if !days.is_empty() => (days, "L"),
                    _ => return Ok(false),
                },
            };
            let slot = match which {
                "L" => Some(&mut last_of_week),
                _ => which
                    .parse::<usize>()
                    .ok()
                    .and_then(|number| nth.get_mut(number.checked_sub(1)?)),
            };
            let Some(slot) = slot else {
                return Err(format!(
                    "'{element}' is unknown; write '{days}#1' to '{days}#5', or '{days}#L' for the last"
                ));
            };
            *slot |= WEEKDAY.element(days)?.bits;
            Ok(true)
        });
        Ok(Self {
            of_month: of_month.map_err(|problem| (DAY.name, problem))?,
            of_week: of_week.map_err(|problem| (WEEKDAY.name, problem))?,
            last,
            last_workday,
            nearest,
            nth,
            last_of_week,
        })
    }

    /// Returns the days on which the expression fires in a month. Bit `n` stands for day `n`.
    pub(super) fn of(&self, month: Month) -> u64 {
        let (of_month, of_week) = (self.by_date(month), self.by_weekday(month));
        // Both fields are alternatives, unless one of them is a star.
        if self.of_month.star || self.of_week.star {
            of_month & of_week
        } else {
            of_month | of_week
        }
    }

    fn by_date(&self, month: Month) -> u64 {
        let mut days = self.of_month.bits & month.all();
        if self.last {
            days |= 1 << month.length;
        }
        if self.last_workday {
            days |= 1 << month.workday(month.length);
        }
        let mut nearest = self.nearest & month.all();
        while nearest != 0 {
            days |= 1 << month.workday(nearest.trailing_zeros());
            nearest &= nearest - 1;
        }
        days
    }

    fn by_weekday(&self, month: Month) -> u64 {
        let mut days = month.with(self.of_week.bits);
        for (number, weekdays) in self.nth.iter().enumerate() {
            if *weekdays != 0 {
                days |= month.with(*weekdays) & WEEK << (1 + 7 * number);
            }
        }
        if self.last_of_week != 0 {
            days |= month.with(self.last_of_week) & WEEK << (month.length - 6);
        }
        days
    }
}
