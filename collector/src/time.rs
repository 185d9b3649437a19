//! Unix time as a date, for people and for attributes.
//!
//! In: nanoseconds since 1970. Out: the parts of a UTC date, by the proleptic Gregorian calendar.

use std::fmt;

use crate::model::UnixTime;

const NANOS: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// Shown as RFC 3339 with milliseconds: `2026-11-23T12:00:01.234Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc(pub UnixTime);

impl Utc {
    /// Hours, minutes, seconds, milliseconds.
    #[must_use]
    pub fn clock(self) -> (u64, u64, u64, u64) {
        let seconds = self.0.0 / NANOS % DAY;
        (seconds / 3600, seconds / 60 % 60, seconds % 60, self.0.0 % NANOS / 1_000_000)
    }

    /// Year, month, day. Years begin in March here, so that the leap day is the last.
    #[must_use]
    pub fn date(self) -> (u64, u64, u64) {
        // Days since 0000-03-01.
        let days = self.0.0 / NANOS / DAY + 719_468;
        let era = days / 146_097;
        let day = days % 146_097;
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let (month, day) = ((month + 2) % 12 + 1, day - (153 * month + 2) / 5 + 1);
        (era * 400 + year + u64::from(month <= 2), month, day)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let (hour, minute, second, milli) = self.clock();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_date_1() {
        // date -u -d @N +%FT%TZ
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_709_164_800, "2024-02-29T00:00:00.007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.007Z"),
            (1_795_435_261, "2026-11-23T12:01:01.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(Utc(UnixTime(seconds * NANOS + 7_999_999)).to_string(), text);
        }
    }
}
