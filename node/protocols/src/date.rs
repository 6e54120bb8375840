//! Days and moments, without a clock and without a calendar library: the proleptic Gregorian calendar.

use std::fmt;
use std::time::SystemTime;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A day, as SEARCH compares them. Years 0 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// A moment with the zone that it was written in: INTERNALDATE (RFC 3501 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateTime {
    unix_seconds: i64,
    zone_minutes: i16,
}

impl Date {
    /// The day of that year, month (1 to 12) and day (1 to 31), if there is one.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            2 => 28 + u8::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        (year <= 9999 && (1..=days).contains(&day)).then_some(Self { year, month, day })
    }

    /// `date-text = date-day "-" date-month "-" date-year`, as in `1-Feb-1994` (RFC 3501 §9).
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut fields = text.split('-');
        let (day, month, year) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() || !matches!(day.len(), 1 | 2) || year.len() != 4 {
            return None;
        }
        let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
        Self::new(digits(year)?, u8::try_from(month).ok()?, u8::try_from(digits(day)?).ok()?)
    }

    /// Days since 1 January 1970, which is day 0.
    pub fn days_since_epoch(self) -> i64 {
        // Counted in eras of 400 years that begin on 1 March, so that the leap day comes last.
        let (month, day) = (i64::from(self.month), i64::from(self.day));
        let year = i64::from(self.year) - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    /// The day that many days after 1 January 1970; the nearest one when that lies outside of the years 0 to 9999.
    pub fn from_days_since_epoch(days: i64) -> Self {
        let days = days.clamp(-719_528, 2_932_896) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = (shifted + 2) % 12 + 1;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        // In range by construction; the conversions only say so to the compiler.
        let small = |number: i64| u8::try_from(number).unwrap_or(1);
        Self {
            year: u16::try_from(year).unwrap_or(0),
            month: small(month),
            day: small(day_of_year - (153 * shifted + 2) / 5 + 1),
        }
    }
}

/// `hour ":" minute ":" second`, two digits each.
fn clock_of(text: &str) -> Option<(i64, i64, i64)> {
    let mut clock = text.split(':').map(|field| digits(field).filter(|_| field.len() == 2).map(i64::from));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    // A leap second is legal (RFC 5322 §3.3).
    let is_one = clock.next().is_none() && hour <= 23 && minute <= 59 && second <= 60;
    is_one.then_some((hour, minute, second))
}

fn digits(text: &str) -> Option<u16> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:04}", self.day, MONTHS[usize::from(self.month) - 1], self.year)
    }
}

impl DateTime {
    /// That many seconds after 1 January 1970 00:00 UTC, written in UTC.
    pub fn from_unix_seconds(unix_seconds: i64) -> Self {
        Self { unix_seconds, zone_minutes: 0 }
    }

    /// That moment, written in UTC. What was before 1970 counts as its beginning.
    pub fn of(time: SystemTime) -> Self {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Self::from_unix_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// Seconds after 1 January 1970 00:00 UTC.
    pub fn unix_seconds(self) -> i64 {
        self.unix_seconds
    }

    /// The day in the zone that it was written in, which is what SEARCH compares (RFC 3501 §6.4.4).
    pub fn date(self) -> Date {
        Date::from_days_since_epoch(self.local_seconds().div_euclid(86_400))
    }

    /// As RFC 3339 §5.6 has it, in UTC: `1994-02-02T05:52:25Z`.
    pub fn rfc3339(self) -> String {
        let Date { year, month, day } = Date::from_days_since_epoch(self.unix_seconds.div_euclid(86_400));
        let second = self.unix_seconds.rem_euclid(86_400);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// As RFC 5322 §3.3 has it, in UTC: `Wed, 02 Feb 1994 05:52:25 +0000`. Always of the same length.
    pub fn rfc5322(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let days = self.unix_seconds.div_euclid(86_400);
        let weekday = usize::try_from(days.rem_euclid(7)).unwrap_or(0);
        let Date { year, month, day } = Date::from_days_since_epoch(days);
        let month = MONTHS[usize::from(month) - 1];
        let second = self.unix_seconds.rem_euclid(86_400);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        format!("{}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} +0000", DAYS[weekday])
    }

    /// A moment as RFC 3339 §5.6 has it, fractions of a second left out, or a day (`full-date`): its beginning in UTC.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let field = |range: std::ops::Range<usize>| text.get(range).and_then(digits);
        let hyphen = |at: usize| text.as_bytes().get(at) == Some(&b'-');
        if !hyphen(4) || !hyphen(7) {
            return None;
        }
        let day = Date::new(field(0..4)?, field(5..7)?.try_into().ok()?, field(8..10)?.try_into().ok()?)?;
        let midnight = day.days_since_epoch() * 86_400;
        let time = match text.get(10..)? {
            "" => return Some(Self::from_unix_seconds(midnight)),
            time => time.strip_prefix(['T', 't', ' '])?,
        };
        let (clock, behind) = time.split_at_checked(8)?;
        let (hour, minute, second) = clock_of(clock)?;
        let behind = match behind.strip_prefix('.') {
            Some(fraction) => {
                let zone = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
                (zone.len() < fraction.len()).then_some(zone)?
            }
            None => behind,
        };
        let zone_minutes = match behind.split_at_checked(1)? {
            ("Z" | "z", "") => 0,
            (sign @ ("+" | "-"), zone) => {
                let (hours, minutes) =
                    zone.split_once(':').filter(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2)?;
                let (hours, minutes) = (digits(hours)?, digits(minutes)?);
                let zone = i16::try_from((hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?).ok()?;
                if sign == "+" { zone } else { -zone }
            }
            _ => return None,
        };
        let local = midnight + hour * 3_600 + minute * 60 + second;
        Some(Self { unix_seconds: local - i64::from(zone_minutes) * 60, zone_minutes })
    }

    fn local_seconds(self) -> i64 {
        self.unix_seconds.saturating_add(i64::from(self.zone_minutes) * 60)
    }

    /// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE`, without the quotes,
    /// as in ` 1-Feb-1994 21:52:25 -0800` (RFC 3501 §9).
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut fields = text.trim_start_matches(' ').split(' ');
        let (date, time, zone) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() {
            return None;
        }
        let date = Date::parse(date.as_bytes())?;
        let (hour, minute, second) = clock_of(time)?;
        let (sign, zone) = match zone.split_at_checked(1)? {
            ("+", zone) => (1, zone),
            ("-", zone) => (-1, zone),
            _ => return None,
        };
        let zone = digits(zone).filter(|number| zone.len() == 4 && number % 100 < 60 && *number < 2_400)?;
        let zone_minutes = sign * i16::try_from(zone / 100 * 60 + zone % 100).ok()?;
        let local = date.days_since_epoch() * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(Self { unix_seconds: local - i64::from(zone_minutes) * 60, zone_minutes })
    }
}

/// Without the quotes.
impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.date();
        let second = self.local_seconds().rem_euclid(86_400);
        write!(
            f,
            "{:2}-{}-{:04} {:02}:{:02}:{:02} {}{:02}{:02}",
            date.day,
            MONTHS[usize::from(date.month) - 1],
            date.year,
            second / 3_600,
            second / 60 % 60,
            second % 60,
            if self.zone_minutes < 0 { '-' } else { '+' },
            self.zone_minutes.abs() / 60,
            self.zone_minutes.abs() % 60,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for (text, days) in [
            ("1-Jan-1970", 0),
            ("31-Dec-1969", -1),
            ("29-Feb-2000", 11_016),
            ("1-Mar-2000", 11_017),
            ("15-Aug-2026", 20_680),
            ("1-Jan-0000", -719_528),
            ("31-Dec-9999", 2_932_896),
        ] {
            let date = Date::parse(text.as_bytes()).unwrap();
            assert_eq!(date.days_since_epoch(), days, "{text}");
            assert_eq!(Date::from_days_since_epoch(days), date);
            assert_eq!(date.to_string(), text);
        }
        for text in [
            "",
            "1-Feb",
            "30-Feb-2000",
            "29-Feb-1900",
            "0-Jan-2000",
            "001-Jan-2000",
            "1-Foo-2000",
            "1-Jan-20000",
            "1-Jan-2000-1",
            "+1-Jan-2000",
        ] {
            assert_eq!(Date::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Date::from_days_since_epoch(i64::MAX).to_string(), "31-Dec-9999");
        assert_eq!(Date::from_days_since_epoch(i64::MIN).to_string(), "1-Jan-0000");
    }

    #[test]
    fn moments() {
        for (text, seconds) in [
            (" 1-Jan-1970 00:00:00 +0000", 0),
            ("17-Jul-1996 02:44:25 -0700", 837_596_665),
            ("31-Dec-1969 23:59:59 +0000", -1),
            (" 1-Jan-2026 00:30:00 +0530", 1_767_207_600),
        ] {
            let moment = DateTime::parse(text.as_bytes()).unwrap();
            assert_eq!(moment.unix_seconds(), seconds, "{text}");
            assert_eq!(moment.to_string(), text);
        }
        assert_eq!(DateTime::parse(b"1-Jan-2026 00:30:00 +0530").unwrap().date(), Date::new(2026, 1, 1).unwrap());
        for text in [
            "",
            "1-Jan-2026",
            "1-Jan-2026 24:00:00 +0000",
            "1-Jan-2026 00:00 +0000",
            "1-Jan-2026 00:00:00 0000",
            "1-Jan-2026 00:00:00 +0060",
            "1-Jan-2026 00:00:00 +00é",
            "1-Jan-2026 0:00:00 +0000",
        ] {
            assert_eq!(DateTime::parse(text.as_bytes()), None, "{text}");
        }
        // Whatever the store holds, it can be written.
        assert!(!DateTime::from_unix_seconds(i64::MAX).to_string().is_empty());
        assert!(!DateTime::from_unix_seconds(i64::MIN).to_string().is_empty());
    }

    #[test]
    fn moments_of_rfc_5322() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (-1, "Wed, 31 Dec 1969 23:59:59 +0000"),
            (1_795_353_862, "Sun, 22 Nov 2026 13:24:22 +0000"),
        ] {
            assert_eq!(DateTime::from_unix_seconds(seconds).rfc5322(), text);
        }
    }

    #[test]
    fn moments_of_rfc_3339() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("1996-07-17T02:44:25-07:00", 837_596_665),
            ("1969-12-31T23:59:59Z", -1),
            ("2026-01-01 00:30:00.123456+05:30", 1_767_207_600),
        ] {
            let moment = DateTime::parse_rfc3339(text).unwrap();
            assert_eq!(moment.unix_seconds(), seconds, "{text}");
        }
        assert_eq!(DateTime::from_unix_seconds(837_596_665).rfc3339(), "1996-07-17T09:44:25Z");
        for text in [
            "",
            "1970",
            "1970-02-30",
            "1970-01-01T",
            "1970-01-01T00:00:00",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+0100",
            "1970-01-01T00:00:00+01:60",
            "1970-01-01T00:00:00Zé",
            "197é-01-01",
        ] {
            assert_eq!(DateTime::parse_rfc3339(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_day_comes_back(days in -719_528_i64..=2_932_896) {
            let date = Date::from_days_since_epoch(days);
            proptest::prop_assert_eq!(date.days_since_epoch(), days);
            proptest::prop_assert_eq!(Date::parse(date.to_string().as_bytes()), Some(date));
        }

        #[test]
        fn every_moment_comes_back(seconds in -60_000_000_000_i64..=250_000_000_000) {
            let moment = DateTime::from_unix_seconds(seconds);
            proptest::prop_assert_eq!(DateTime::parse(moment.to_string().as_bytes()), Some(moment));
            proptest::prop_assert_eq!(DateTime::parse_rfc3339(&moment.rfc3339()), Some(moment));
        }
    }
}
