//! Reads what a model wrote as JSON into types of the caller.

use serde::de::DeserializeOwned;

use crate::chunk::FinishReason;
use crate::error::{Error, ErrorKind};
use crate::json_reader::JsonReader;
use crate::redact::{one_line, truncated};
use crate::response::GenerationResponse;

/// The most characters of the JSON that an error shows.
const SHOWN: usize = 60;

/// Reads JSON as a value. `place` is the JSON pointer of that JSON. The error names the place inside
/// it, and shows the words there.
pub(crate) fn read<T: DeserializeOwned>(json: &str, place: &str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| {
        let lines = json.split_inclusive('\n').take(error.line().saturating_sub(1));
        let at = lines.map(str::len).sum::<usize>() + error.column();
        if !error.is_data() && !json.starts_with(['{', '[', '"']) {
            return format!("it is not JSON: `{}`", one_line(truncated(json, SHOWN)));
        }
        let before = truncated(json, at);
        let mut reader = JsonReader::default();
        // A syntax error is at a character that does not belong there.
        reader.read(truncated(json, at.saturating_sub(usize::from(error.is_syntax()))));
        // serde_json tells the line and the column, which mean nothing in an answer.
        let problem = error.to_string();
        let problem = problem.rsplit_once(" at line ").map_or(&*problem, |(problem, _)| problem);
        let words: String = before.chars().rev().take(SHOWN).collect();
        let words: String = words.chars().rev().collect();
        let place = Some(format!("{place}{}", reader.pointer())).filter(|it| !it.is_empty());
        let place = place.map(|it| format!(" at {it:?}")).unwrap_or_default();
        let words = Some(one_line(&words)).filter(|it| !it.is_empty());
        let words = words.map(|it| format!(", after `{it}`")).unwrap_or_default();
        one_line(problem) + &place + &words
    })
}

/// Returns why an answer is no value, whatever its text: a limit cut it, or the model refused.
pub(crate) fn stopped(response: &GenerationResponse) -> Option<(ErrorKind, String)> {
    let reason = response.finish_reason;
    if reason == Some(FinishReason::Length) {
        let problem = "a length limit cut the answer; raise `max_tokens`".to_owned();
        return Some((ErrorKind::Incomplete, problem));
    }
    if response.refusal.is_none() && reason != Some(FinishReason::ContentFilter) {
        return None;
    }
    let why = response.refusal.as_deref().or(response.raw_finish_reason.as_deref());
    let problem = format!("the model refused: {}", one_line(why.unwrap_or("it gave no reason")));
    Some((ErrorKind::Refusal, problem))
}

impl GenerationResponse {
    /// Reads the text of the answer as a value, which the model wrote as JSON. If the response has
    /// several messages, it reads the last. White space and one code fence around the JSON are
    /// skipped.
    ///
    /// ```no_run
    /// #[derive(serde::Deserialize)]
    /// struct Invoice { number: String, cents: i64 }
    ///
    /// let question = "Invoice A-17: a lamp, 39 EUR. Answer as JSON: {\"number\", \"cents\"}";
    /// let invoice: Invoice = kerb_stream::generate(question, "mistral-small-latest")?.parse()?;
    /// println!("{}: {} cents", invoice.number, invoice.cents);
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::Incomplete`]: a length limit cut the answer.
    /// - [`ErrorKind::Refusal`]: the model refused, or a content filter stopped it.
    /// - [`ErrorKind::Decode`]: the text does not fit the type. The message names the place in the
    ///   JSON, and shows the words there.
    ///
    /// [`Error::partial`] has the response.
    pub fn parse<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        let (kind, problem) = match stopped(self) {
            Some(stopped) => stopped,
            None => match read(without_fence(self.last_text()), "") {
                Ok(value) => return Ok(value),
                Err(why) => (ErrorKind::Decode, format!("the answer does not fit the type: {why}")),
            },
        };
        Err(Error::new(kind, self.provider, problem).with_partial(self.clone()).into())
    }
}

/// Returns text without the white space and the code fence around it.
fn without_fence(text: &str) -> &str {
    let text = text.trim();
    let fenced = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let inside = fenced.unwrap_or(text).trim();
    // The first line, or the first word, may tell the language.
    let json = match inside.split_once('\n') {
        Some((first, rest)) if !first.contains(['{', '[', '"']) => rest,
        _ => inside.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    if fenced.is_none() || json.is_empty() { inside } else { json.trim() }
}
