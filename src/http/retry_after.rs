//! Reads how long a response asks the client to wait before the next attempt.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the wait that the response headers ask for.
///
/// OpenAI sends `retry-after-ms`, which is more exact than
/// [`Retry-After`](https://httpwg.org/specs/rfc9110.html#field.retry-after), a number of seconds or
/// a date. The date is compared with the response's own `Date` header, since clocks differ.
pub(super) fn retry_after<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Duration> {
    if let Some(wait) = header("retry-after-ms").and_then(|text| number(text, 1e-3)) {
        return Some(wait);
    }
    let text = header("retry-after")?;
    number(text, 1.0).or_else(|| {
        let now = || Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs());
        let now = header("date").and_then(date).or_else(now)?;
        Some(Duration::from_secs(date(text)?.saturating_sub(now)))
    })
}

/// Parses a number of digits, with or without a fraction. Anything else, such as `inf`, is invalid.
fn number(text: &str, unit: f64) -> Option<Duration> {
    let text = text.trim();
    let is_number = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let seconds = unit * text.parse::<f64>().ok().filter(|_| is_number)?;
    // The cap prevents an overflow, and is longer than any useful wait.
    Some(Duration::from_secs_f64(seconds.min(1e9)))
}

/// Parses a date in one of HTTP's [three forms](https://httpwg.org/specs/rfc9110.html#http.date)
/// and returns seconds since 1970.
fn date(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    // `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`
    let parts: Vec<&str> = text
        .split(|c: char| c.is_ascii_whitespace() || c == ',' || c == '-')
        .filter(|part| !part.is_empty())
        .collect();
    let (day, month, year, time) = match *parts.as_slice() {
        [_, day, month, year, time, "GMT" | "UTC"] => (day, month, year, time),
        [_, month, day, time, year] => (day, month, year, time),
        _ => return None,
    };
    let month = MONTHS.find(month).filter(|_| month.len() == 3)? as u64 / 3 + 1;
    let day: u64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let year: u64 = match (year.len(), year.parse().ok()?) {
        (2, year @ 0..70) => 2000 + year,
        (2, year) => 1900 + year,
        (4, year @ 1970..) => year,
        _ => return None,
    };
    let mut seconds = 0;
    let mut fields = time.split(':');
    for _ in 0..3 {
        let field: u64 = fields.next()?.parse().ok().filter(|field| *field <= 60)?;
        seconds = seconds * 60 + field;
    }
    // Years are counted from March, so that a leap day comes last.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day - 1;
    // 719,468 days lie between 1 March of the year 0 and 1 January 1970.
    Some(days.checked_sub(719_468)? * 86_400 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_ask_in_many_ways_and_some_talk_nonsense() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (headers, seconds) in [
            (&[][..], None),
            (&[("retry-after", "2")], Some(2.0)),
            (&[("retry-after", " 0.5 ")], Some(0.5)),
            (&[("retry-after", "0")], Some(0.0)),
            (&[("retry-after-ms", "1500"), ("retry-after", "30")], Some(1.5)),
            (&[("retry-after-ms", "soon"), ("retry-after", "30")], Some(30.0)),
            (&[("retry-after", "86400")], Some(86400.0)),
            (&[("retry-after", "99999999999999999999")], Some(1e9)),
            (&[("retry-after", "-5")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "inf")], None),
            (&[("retry-after", "1e400")], None),
            (&[("retry-after", "1.2.3")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "")], None),
            (&[date, ("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT")], Some(23.0)),
            (&[date, ("retry-after", "Sunday, 06-Nov-94 08:49:40 GMT")], Some(3.0)),
            (&[date, ("retry-after", "Sun Nov  6 08:49:38 1994")], Some(1.0)),
            (&[date, ("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")], Some(0.0)),
            (&[date, ("retry-after", "Sun, 99 Nov 1994 08:49:00 GMT")], None),
            (&[date, ("retry-after", "Sun, 06 Nov 1994 08:99:00 GMT")], None),
            (&[date, ("retry-after", "Sun, 06 Nov 99999999999999999999 08:49:00 GMT")], None),
            (&[("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")], Some(0.0)),
        ] {
            let header =
                |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
            assert_eq!(retry_after(header).map(|wait| wait.as_secs_f64()), seconds, "{headers:?}");
        }
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Thu, 29 Feb 2024 12:00:00 GMT", 1_709_208_000),
            ("Wed, 01 Jan 2025 00:00:00 GMT", 1_735_689_600),
            ("Fri, 31 Dec 2099 23:59:59 GMT", 4_102_444_799),
        ] {
            assert_eq!(super::date(text), Some(seconds), "{text}");
        }
    }
}
