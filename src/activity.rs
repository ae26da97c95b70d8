//! The events of a stream besides the answer itself: [`Activity`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error_kind::ErrorKind;
use crate::redact::{one_line, truncated};
use crate::seconds;

/// The longest input or output that `Display` writes, in bytes.
const SHOWN: usize = 200;

/// Something that happens besides the answer itself.
///
/// `Display` writes one line, for a spinner or a log. It shortens long inputs and outputs, and makes
/// control characters visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activity {
    /// The request failed, and is sent again. The next call of `next` waits for `wait` before that.
    #[non_exhaustive]
    Retry {
        /// The kind of the error.
        kind: ErrorKind,
        /// The error in one line.
        message: String,
        /// The wait before the request is sent again. In JSON it is a number of seconds.
        #[serde(with = "seconds")]
        wait: Duration,
    },
    /// A tool starts.
    #[non_exhaustive]
    ToolStarted {
        /// The ID of the call. The tool's end has the same one.
        id: String,
        /// The name of the tool, as the provider calls it.
        name: String,
        /// The input, such as a query or code. JSON, if it has several fields. It is empty if the
        /// provider tells it only at the end: the output then contains it.
        input: String,
        /// `true` if the tool runs at the provider.
        hosted: bool,
    },
    /// A tool has ended.
    #[non_exhaustive]
    ToolFinished {
        /// The ID of the call.
        id: String,
        /// The name of the tool, as the provider calls it.
        name: String,
        /// The output: text, or the result as JSON.
        output: String,
        /// `true` if the tool has failed.
        is_error: bool,
        /// `true` if the tool ran at the provider.
        hosted: bool,
    },
}

impl Activity {
    /// Returns whether a tool of the caller's starts. What the model says after it is another turn.
    pub(crate) fn is_own_start(&self) -> bool {
        matches!(self, Self::ToolStarted { hosted: false, .. })
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |text: &str| one_line(truncated(text, SHOWN));
        match self {
            Self::Retry { message, wait, .. } => {
                write!(f, "{}; trying again in {:.1} s", short(message), wait.as_secs_f64())
            }
            Self::ToolStarted { name, input, .. } if input.is_empty() => f.write_str(&short(name)),
            Self::ToolStarted { name, input, .. } => {
                write!(f, "{}: {}", short(name), short(input))
            }
            Self::ToolFinished { name, output, is_error, .. } => {
                write!(f, "{} has {}", short(name), if *is_error { "failed" } else { "finished" })?;
                // A long output, such as a list of pages, would hide what happens.
                if *is_error || (1..=SHOWN).contains(&output.len()) {
                    write!(f, ": {}", short(output))?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_activity_is_one_safe_line() {
        let (id, name) = ("1".to_owned(), "search".to_owned());
        let started = |input: &str| Activity::ToolStarted {
            id: id.clone(),
            name: name.clone(),
            input: input.to_owned(),
            hosted: true,
        };
        let finished = |output: &str, is_error| Activity::ToolFinished {
            id: id.clone(),
            name: name.clone(),
            output: output.to_owned(),
            is_error,
            hosted: true,
        };
        let long = &"x".repeat(5000);
        let retry = Activity::Retry {
            kind: ErrorKind::RateLimited,
            message: "openai returned 429: slow\ndown".to_owned(),
            wait: Duration::from_millis(6040),
        };
        for (activity, line) in [
            (started(""), "search"),
            (started("a\n\u{1b}[2Jb"), "search: a ␛[2Jb"),
            (finished("", false), "search has finished"),
            (finished("2\n3", false), "search has finished: 2 3"),
            (finished(long, false), "search has finished"),
            (finished("no\nnet", true), "search has failed: no net"),
            (retry, "openai returned 429: slow down; trying again in 6.0 s"),
        ] {
            assert_eq!(activity.to_string(), line);
            let json = serde_json::to_string(&activity).unwrap();
            assert_eq!(serde_json::from_str::<Activity>(&json).unwrap(), activity, "{json}");
        }
        assert!(started(long).to_string().len() < 300);
    }
}
