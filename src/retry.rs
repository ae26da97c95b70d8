//! Decides whether and when a request is retried. `stream` does the waiting.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use crate::config::GenerationConfig;
use crate::error::{Error, ErrorKind};

/// The longest first wait, if the server asks for none. It doubles with each retry, up to
/// [`LONGEST`]. The wait itself is a random part of it, at least half.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(8);

/// Returns how long to wait before the next attempt, or `None` if there must not be one. `retries`
/// is the number of retries so far.
///
/// It is for a request that has not produced a chunk yet. A permanent error is not retried. A
/// timeout is not retried either: the provider may still be working on the request, and may charge
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
    // A random number between 0 and 1 spreads the retries of clients that failed together.
    let chance = RandomState::new().hash_one(retries) as f64 / u64::MAX as f64;
    match error.retry_after() {
        Some(asked) if asked > config.max_retry_wait => None,
        // A retry never comes earlier than the server asked for.
        Some(asked) => Some(asked + asked.min(LONGEST).mul_f64(0.1 * chance)),
        None => {
            let wait = FIRST.saturating_mul(1 << retries.min(16)).min(LONGEST);
            Some(wait.mul_f64(0.5 + 0.5 * chance))
        }
    }
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

    /// `is_retryable` reports to callers what the crate itself does, except for timeouts.
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
}
