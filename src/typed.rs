//! Reads what a model wrote as JSON into types of the caller.

use serde::de::DeserializeOwned;

use crate::chunk::FinishReason;
use crate::error::{Error, ErrorKind};
use crate::json_reader::JsonReader;
use crate::redact::{one_line, truncated};
use crate::response::GenerationResponse;

/// The most characters of the JSON that an error shows.
const SHOWN: usize = 60;

/// Reads JSON as a value. The error names the place inside the JSON, and shows the words there.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| {
        let lines = json.split_inclusive('\n').take(error.line().saturating_sub(1));
        let at = lines.map(str::len).sum::<usize>() + error.column();
        let before = truncated(json, at);
        let mut reader = JsonReader::default();
        reader.read(before);
        // serde_json tells the line and the column, which mean nothing in an answer.
        let problem = error.to_string();
        let problem = problem.split(" at line ").next().unwrap_or_default();
        let words: String = before.chars().rev().take(SHOWN).collect();
        let words: String = words.chars().rev().collect();
        format!("{} at {:?}, after {words:?}", one_line(problem), reader.pointer())
    })
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
        let reason = self.finish_reason;
        let (kind, problem) = if reason == Some(FinishReason::Length) {
            let problem = "a length limit cut the answer; raise `max_tokens`".to_owned();
            (ErrorKind::Incomplete, problem)
        } else if self.refusal.is_some() || reason == Some(FinishReason::ContentFilter) {
            let why = self.refusal.as_deref().or(self.raw_finish_reason.as_deref());
            (
                ErrorKind::Refusal,
                format!("the model refused: {}", one_line(why.unwrap_or_default())),
            )
        } else {
            match read(without_fence(self.last_text())) {
                Ok(value) => return Ok(value),
                Err(why) => (ErrorKind::Decode, format!("the answer does not fit the type: {why}")),
            }
        };
        Err(Error::new(kind, self.provider, problem).with_partial(self.clone()).into())
    }
}

/// Returns text without the white space and the code fence around it.
fn without_fence(text: &str) -> &str {
    let text = text.trim();
    let fenced = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let inside = fenced.and_then(|rest| rest.split_once('\n'));
    inside.map_or(text, |(_, json)| json.trim())
}
