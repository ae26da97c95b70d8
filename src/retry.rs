//! Whether to try again, and when. Pure policy; nobody waits here.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind};

/// The first wait; each further one is twice as long, up to the last.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(8);

/// How long to wait before the next try; `None` if there is to be none. `retries` is how many there
/// were.
///
/// It is for a request of which no chunk has been handed out. What cannot get better is not tried
/// again, and neither is what ran out of time: the provider may still be at work on it, and be paid
/// for it.
pub(crate) fn wait_before_retry(
    error: &Error,
    retries: u32,
    config: &GenerationConfig,
) -> Option<Duration> {
    let is_worth_it = error.is_retryable() && error.kind() != ErrorKind::Timeout;
    if retries >= config.max_retries || !is_worth_it {
        return None;
    }
    // Between 0 and 1. Clients that failed together must not come back together.
    let chance = RandomState::new().hash_one(retries) as f64 / u64::MAX as f64;
    match error.retry_after() {
        Some(asked) if asked > config.max_retry_wait => None,
        // Not before it was asked for.
        Some(asked) => Some(asked + asked.min(LONGEST).mul_f64(0.1 * chance)),
        None => {
            let wait = FIRST.saturating_mul(1 << retries.min(16)).min(LONGEST);
            Some(wait.mul_f64(0.5 + 0.5 * chance))
        }
    }
}

/// The wait that an answer's headers ask for.
///
/// `retry-after-ms` is OpenAI's and more exact than
/// [`Retry-After`](https://httpwg.org/specs/rfc9110.html#field.retry-after), which is a number of
/// seconds or a date. The date is read against the answer's own, since clocks differ.
pub(crate) fn asked<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Duration> {
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

/// A number of digits, with or without a fraction. Anything else, such as `inf`, is nonsense.
fn number(text: &str, unit: f64) -> Option<Duration> {
    let text = text.trim();
    let is_number = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let seconds = unit * text.parse::<f64>().ok().filter(|_| is_number)?;
    // Longer than anybody waits, and short enough to reckon with.
    Some(Duration::from_secs_f64(seconds.min(1e9)))
}

/// A date in one of the [three forms of HTTP](https://httpwg.org/specs/rfc9110.html#http.date), as
/// seconds since 1970.
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
    // Years begin in March, so that a leap day comes last.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day - 1;
    // 719,468 days lie between March of the year 0 and 1970.
    Some(days.checked_sub(719_468)? * 86_400 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::api_error;
    use crate::provider::LlmProvider;

    fn api(status: u16, body: &str) -> Error {
        api_error(LlmProvider::OpenAi, Some(status), body)
    }

    fn in_a_stream(mut error: Error) -> Error {
        error.report_mut().unwrap().status = None;
        error
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let config = GenerationConfig::new("m");
        let other = |kind| Error::new(kind, None, "x");
        let quota = r#"{"error":{"code":"insufficient_quota","message":"x"}}"#;
        for (error, expected) in [
            (api(408, ""), true),
            (api(409, ""), true),
            (api(429, ""), true),
            (api(500, ""), true),
            (api(529, ""), true),
            (api(400, ""), false),
            (api(401, ""), false),
            (api(404, ""), false),
            (api(413, ""), false),
            (api(302, ""), false),
            (api(204, ""), false),
            (api(600, ""), false),
            (api(999, ""), false),
            (api(429, quota), false),
            (api(429, "").permanent(), false),
            (in_a_stream(api(429, r#"{"error":{"type":"overloaded_error"}}"#)), true),
            (in_a_stream(api(400, "")), false),
            (other(ErrorKind::Network), true),
            (other(ErrorKind::Network).permanent(), false),
            (other(ErrorKind::Timeout), false),
            (other(ErrorKind::Incomplete), true),
            (other(ErrorKind::Decode), false),
            (other(ErrorKind::Config), false),
            (other(ErrorKind::Cancelled), false),
        ] {
            assert_eq!(wait_before_retry(&error, 0, &config).is_some(), expected, "{error:?}");
            assert_eq!(wait_before_retry(&error, 2, &config), None);
        }
    }

    /// A caller who asks whether to try again hears what the crate would do itself.
    #[test]
    fn what_is_retryable_is_what_is_tried_again() {
        let config = GenerationConfig::new("m");
        let words = [
            "",
            "api_error",
            "authentication_error",
            "context_length_exceeded",
            "insufficient_quota",
            "invalid_request_error",
            "not_found_error",
            "overloaded_error",
            "rate_limit_exceeded",
            "RESOURCE_EXHAUSTED",
            "Throttling.RateQuota",
        ];
        let statuses = (100..1000).filter(|status| *status != 200).map(Some).chain([None]);
        let mut retried = 0;
        for status in statuses {
            for word in words {
                for is_permanent in [false, true] {
                    let body = format!(r#"{{"error":{{"code":"{word}"}}}}"#);
                    let mut error = api_error(LlmProvider::OpenAi, status, &body);
                    if is_permanent {
                        error = error.permanent();
                    }
                    let is_retried = wait_before_retry(&error, 0, &config).is_some();
                    assert_eq!(error.is_retryable(), is_retried, "{error:?}");
                    if word.is_empty() && !is_permanent {
                        let expected = matches!(status, Some(408 | 409 | 429 | 500..600) | None);
                        assert_eq!(is_retried, expected, "{error:?}");
                    }
                    retried += u32::from(is_retried);
                }
            }
        }
        assert!(retried > 0);
    }

    #[test]
    fn waits_grow_and_keep_to_what_was_asked_for() {
        let config = GenerationConfig { max_retries: u32::MAX, ..GenerationConfig::new("m") };
        let waits = |error: &Error, retries| {
            wait_before_retry(error, retries, &config).map(|wait| wait.as_millis())
        };
        let error = api(500, "");
        for (retries, least, most) in
            [(0, 250, 500), (1, 500, 1000), (4, 4000, 8000), (u32::MAX - 1, 4000, 8000)]
        {
            let wait = waits(&error, retries).unwrap();
            assert!((least..=most).contains(&wait), "{retries}: {wait}");
        }
        let asking = |wait| {
            let mut error = api(429, "");
            error.report_mut().unwrap().retry_after = Some(wait);
            error
        };
        let wait = waits(&asking(Duration::from_secs(2)), 0).unwrap();
        assert!((2000..=2200).contains(&wait), "{wait}");
        assert!(waits(&asking(Duration::from_secs(60)), 0).is_some());
        assert_eq!(waits(&asking(Duration::from_secs(61)), 0), None);
        assert_eq!(waits(&asking(Duration::MAX), 0), None);
    }

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
            assert_eq!(asked(header).map(|wait| wait.as_secs_f64()), seconds, "{headers:?}");
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
