//! A set of minutes of a day.

use jiff::civil::{Date, DateTime};

use super::field::Values;

/// The number of minutes of a day.
pub(super) const MINUTES: usize = 24 * 60;
const WORDS: usize = MINUTES.div_ceil(64);

/// A set of minutes of a day, counted on the wall clock from midnight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DayMinutes([u64; WORDS]);

impl DayMinutes {
    /// Creates the set from the fields of a cron expression.
    pub(super) fn of(hours: Values, minutes: Values) -> Self {
        let mut set = Self::default();
        for hour in (0..24).filter(|hour| hours.bits & 1 << hour != 0) {
            for minute in (0..60).filter(|minute| minutes.bits & 1 << minute != 0) {
                set.insert(hour * 60 + minute);
            }
        }
        set
    }

    fn insert(&mut self, minute: usize) {
        if let Some(word) = self.0.get_mut(minute / 64) {
            *word |= 1 << (minute % 64);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
    }

    pub(super) fn remove(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= !other);
    }

    pub(super) fn contains(&self, minute: usize) -> bool {
        self.0.get(minute / 64).is_some_and(|word| word & 1 << (minute % 64) != 0)
    }

    /// Returns the first minute at or after `minute`.
    pub(super) fn first_from(&self, minute: usize) -> Option<usize> {
        let words = self.0.iter().enumerate().skip(minute / 64);
        words
            .map(|(at, word)| {
                (at, if at == minute / 64 { word & u64::MAX << (minute % 64) } else { *word })
            })
            .find(|(_, word)| *word != 0)
            .map(|(at, word)| at * 64 + word.trailing_zeros() as usize)
    }

    /// Returns the last minute at or before `minute`.
    pub(super) fn last_to(&self, minute: usize) -> Option<usize> {
        let words = self.0.iter().enumerate().take(minute / 64 + 1).rev();
        words
            .map(|(at, word)| {
                (at, if at == minute / 64 { word & u64::MAX >> (63 - minute % 64) } else { *word })
            })
            .find(|(_, word)| *word != 0)
            .map(|(at, word)| at * 64 + 63 - word.leading_zeros() as usize)
    }
}

/// Returns the minute of the day of a time.
pub(super) fn minute_of(at: DateTime) -> usize {
    usize::from(at.hour().unsigned_abs()) * 60 + usize::from(at.minute().unsigned_abs())
}

/// Returns the time of a minute of a day.
pub(super) fn on(date: Date, minute: usize) -> Option<DateTime> {
    let hour = i8::try_from(minute / 60).ok()?;
    let minute = i8::try_from(minute % 60).ok()?;
    DateTime::new(date.year(), date.month(), date.day(), hour, minute, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_found_at_the_borders_of_words() {
        let mut set = DayMinutes::default();
        for minute in [0, 63, 64, 1439] {
            set.insert(minute);
        }
        let first: Vec<_> = [0, 1, 63, 64, 65, 1439, 1440].map(|m| set.first_from(m)).to_vec();
        assert_eq!(first, [Some(0), Some(63), Some(63), Some(64), Some(1439), Some(1439), None]);
        let last: Vec<_> = [0, 62, 63, 64, 1438, 1439].map(|m| set.last_to(m)).to_vec();
        assert_eq!(last, [Some(0), Some(0), Some(63), Some(64), Some(64), Some(1439)]);
    }
}
