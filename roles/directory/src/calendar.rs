//! Moments, which we keep in seconds since 1970, as people and LDAP write them. UTC; the proleptic Gregorian calendar.

/// A moment by the calendar.
struct Moment {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

/// `2026-11-22T10:14:49Z` (RFC 3339).
pub fn rfc3339(seconds: u64) -> String {
    let Moment { year, month, day, hour, minute, second } = moment(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `20261122101449Z` (RFC 4517 §3.3.13).
pub fn generalized(seconds: u64) -> String {
    let Moment { year, month, day, hour, minute, second } = moment(seconds);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z")
}

/// Reads what [`generalized`] writes; a fraction is dropped. None for what is none, before 1970 or not in UTC.
pub fn from_generalized(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('Z')?;
    let digits = digits.split_once(['.', ',']).map_or(digits, |(whole, _)| whole);
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let field = |from: usize, to: usize| digits[from..to].parse::<u64>().ok();
    let (year, month, day) = (field(0, 4)?, field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days from 1970-01-01 to a date. Years are counted from March, so that the leap day is the last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    year * 365 + leaps + (153 * month + 2) / 5 + day - 1 - DAYS_BEFORE_1970
}

/// From 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: u64 = 719_468;

fn moment(seconds: u64) -> Moment {
    let days = seconds / 86_400 + DAYS_BEFORE_1970;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (year * 365 + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let time = seconds % 86_400;
    Moment { year: era * 400 + year + carry, month, day, hour: time / 3_600, minute: time / 60 % 60, second: time % 60 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        for (seconds, text) in [
            (0, "19700101000000Z"),
            (951_782_400, "20000229000000Z"),
            (951_868_799, "20000229235959Z"),
            (1_709_251_199, "20240229235959Z"),
            (4_107_542_400, "21000301000000Z"),
            (1_795_342_489, "20261122101449Z"),
        ] {
            assert_eq!(generalized(seconds), text);
            assert_eq!(from_generalized(text), Some(seconds), "{text}");
        }
        assert_eq!(rfc3339(1_795_342_489), "2026-11-22T10:14:49Z");
        assert_eq!(from_generalized("20261122101449.25Z"), Some(1_795_342_489));
        for bad in [
            "",
            "Z",
            "20261122101449",
            "20261122101449+0100",
            "2026112210144Z",
            "20261322101449Z",
            "19691231235959Z",
            "2026112210144éZ",
        ] {
            assert_eq!(from_generalized(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_second_comes_back(seconds in 0_u64..200_000_000_000) {
            prop_assert_eq!(from_generalized(&generalized(seconds)), Some(seconds));
        }
    }
}
