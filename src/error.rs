//! Errors: [`Error`] reports what happened, at which provider, and what to do next.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use crate::error_kind::ErrorKind;
use crate::model;
use crate::provider::LlmProvider;
use crate::response::GenerationResponse;

/// An error that prevented or ended a stream.
///
/// Streams yield [`anyhow::Result`], and the error inside always has this type. [`ErrorKind::of`]
/// returns its kind, and [`Error::of`] the error itself, even if context was added. What to do next
/// depends on the [`kind`](Self::kind):
///
/// ```no_run
/// use kerb_stream::{ErrorKind, generate};
///
/// match generate("Hello", "mistral-small-latest") {
///     Ok(response) => println!("{}", response.content),
///     Err(error) => match ErrorKind::of(&error) {
///         Some(ErrorKind::Auth) => eprintln!("MISTRAL_API_KEY is missing or wrong."),
///         Some(ErrorKind::RateLimited | ErrorKind::Overloaded) => eprintln!("Try again later."),
///         _ => eprintln!("{error:#}"),
///     },
/// }
/// ```
///
/// `Display` prints one line, without the cause. `{:#}` on the [`anyhow::Error`] prints the causes,
/// too. Neither shows a key.
#[derive(Debug, Clone)]
pub struct Error(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    kind: ErrorKind,
    provider: Option<LlmProvider>,
    /// The address of the server, if it is not the provider's public one, and if the message does
    /// not contain it.
    address: Option<String>,
    message: String,
    /// True if a retry would fail in the same way, although other errors of this kind may be
    /// temporary.
    is_permanent: bool,
    /// The provider's report. It is `None` if the crate itself found the error.
    report: Option<Report>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    partial: Option<Arc<GenerationResponse>>,
}

/// The details of an error that the provider reported, and facts about the request.
/// [`Display`](fmt::Display) adds them to the message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) model: Option<String>,
    pub(crate) key_source: KeySource,
    /// The HTTP status. It is `None` for an error inside a stream.
    pub(crate) status: Option<u16>,
    /// The error code, such as `invalid_api_key`. A numeric code is kept as text.
    pub(crate) code: Option<String>,
    /// The error type, such as `invalid_request_error`.
    pub(crate) error_type: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: String,
    /// The headers about rate limits. The stream copies them to its response.
    pub(crate) rate_limit: BTreeMap<String, String>,
}

/// The source of a request's API key.
#[derive(Debug, Clone, Default)]
pub(crate) enum KeySource {
    /// The crate sent no request: the caller gave the response.
    #[default]
    Unknown,
    /// No key was sent.
    NoKey,
    /// The name of an option, a variable or a header.
    From(String),
}

impl Error {
    /// Returns the `Error` inside an [`anyhow::Error`], even if context was added.
    pub fn of(error: &anyhow::Error) -> Option<&Self> {
        error.downcast_ref()
    }

    /// Returns the kind of the failure, which decides what a caller can do next.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the message: the provider's own if the provider reported the failure, else the
    /// crate's. It is one line, without control characters and without the API key.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the provider, if it was known when the error happened.
    pub fn provider(&self) -> Option<LlmProvider> {
        self.0.provider
    }

    /// Returns the HTTP status of the provider's error response. Returns `None` for all other
    /// errors, such as a failed connection or an error inside a stream, whose status was 200.
    pub fn status(&self) -> Option<u16> {
        self.report()?.status
    }

    /// Returns the provider's error code, such as `invalid_api_key`, else its error type, such as
    /// `invalid_request_error`. A numeric code is returned as text.
    pub fn code(&self) -> Option<&str> {
        let report = self.report()?;
        report.code.as_deref().or(report.error_type.as_deref())
    }

    /// Returns the id of the request, which the provider's support asks for.
    pub fn request_id(&self) -> Option<&str> {
        self.report()?.request_id.as_deref()
    }

    /// Returns the error as the provider sent it: the response body or the event's data, up to
    /// 64 KiB, with the API key redacted. Read it for details that have no method here, such as
    /// Groq's `failed_generation`. Returns `None` if the provider did not report the error.
    pub fn body(&self) -> Option<&str> {
        Some(&self.report()?.body)
    }

    /// Returns the time that the provider asks to wait before a retry.
    pub fn retry_after(&self) -> Option<Duration> {
        self.report()?.retry_after
    }

    /// Returns whether the same request may succeed later: the provider is overloaded, has an
    /// internal error or limits the rate, the connection failed, or the response was truncated or
    /// timed out. The result is false if the provider says that a retry is useless
    /// (`x-should-retry: false`).
    ///
    /// If the error came before the first piece of the answer, the crate has already retried the
    /// request, except after a timeout
    /// ([`GenerationConfig::max_retries`](crate::GenerationConfig::max_retries)). After that, a retry
    /// asks for a new answer, which costs money again.
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::{Incomplete, Network, Overloaded, RateLimited, Server, Timeout};
        let may_pass = matches!(
            self.0.kind,
            Incomplete | Network | Overloaded | RateLimited | Server | Timeout
        );
        may_pass && !self.0.is_permanent
    }

    /// Returns the part of the response that arrived before the failure, for errors of
    /// [`generate`](crate::generate()) and
    /// [`into_response`](crate::GenerationStream::into_response). While iterating, call
    /// [`GenerationStream::response`](crate::GenerationStream::response) instead.
    pub fn partial(&self) -> Option<&GenerationResponse> {
        self.0.partial.as_deref()
    }

    /// Creates an error. `message` says what happened and what to do next. `Display` prints the
    /// provider before it.
    pub(crate) fn new(
        kind: ErrorKind,
        provider: impl Into<Option<LlmProvider>>,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Details {
            kind,
            provider: provider.into(),
            address: None,
            message: message.into(),
            is_permanent: false,
            report: None,
            source: None,
            partial: None,
        }))
    }

    pub(crate) fn cancelled(provider: impl Into<Option<LlmProvider>>) -> Self {
        Self::new(ErrorKind::Cancelled, provider, "the caller cancelled the stream")
    }

    /// Adds the cause, which `Display` does not print.
    pub(crate) fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Marks an error as useless to retry.
    pub(crate) fn permanent(mut self) -> Self {
        self.0.is_permanent = true;
        self
    }

    /// Adds the address of the server, which `Display` prints after the provider.
    pub(crate) fn set_address(&mut self, address: Option<String>) {
        self.0.address = address;
    }

    /// Adds the provider's report. The error already has the provider's own message.
    pub(crate) fn reported(mut self, report: Report) -> Self {
        self.0.report = Some(report);
        self
    }

    pub(crate) fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    pub(crate) fn with_partial(mut self, response: GenerationResponse) -> Self {
        self.0.partial = Some(Arc::new(response));
        self
    }

    /// Removes the provider. If an error is the cause of another error, the other error already
    /// names the provider.
    pub(crate) fn without_provider(mut self) -> Self {
        self.0.provider = None;
        self
    }

    /// Changes every text that came from a server, to redact keys in it.
    pub(crate) fn map_texts(&mut self, change: impl Fn(&str) -> String) {
        let Details { message, report, .. } = &mut *self.0;
        *message = change(message);
        if let Some(Report { code, error_type, request_id, body, .. }) = report {
            *body = change(body);
            for text in [code, error_type, request_id].into_iter().flatten() {
                *text = change(text);
            }
        }
    }

    pub(crate) fn report(&self) -> Option<&Report> {
        self.0.report.as_ref()
    }

    pub(crate) fn report_mut(&mut self) -> Option<&mut Report> {
        self.0.report.as_mut()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { kind, provider, address, message, report, .. } = &*self.0;
        // Any server can be behind `local`, so its address is its name.
        let name = provider.filter(|provider| *provider != LlmProvider::Local);
        let mut who = name.map_or("the server", LlmProvider::as_str).to_owned();
        if let Some(address) = address {
            who += &format!(" at {address}");
        }
        let Some(report) = report else {
            return match (name, address) {
                (None, None) => f.write_str(message),
                _ => write!(f, "{who}: {message}"),
            };
        };
        let Report { model, status, code, error_type, request_id, .. } = report;
        match status {
            Some(status) => write!(f, "{who} returned {status}")?,
            None => write!(f, "{who} reports an error inside the stream")?,
        }
        if let Some(model) = model.as_ref().filter(|_| *kind == ErrorKind::NotFound) {
            write!(f, " for model {model:?}")?;
        }
        if !message.is_empty() {
            write!(f, ": {}", message.trim_end_matches('.'))?;
        }
        let told = [("type", error_type), ("code", code), ("request", request_id)];
        let told = told.map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
        let told: Vec<_> = told.into_iter().flatten().collect();
        if !told.is_empty() {
            write!(f, " ({})", told.join(", "))?;
        }
        f.write_str(&report.advice(*kind, *provider))
    }
}

impl Report {
    /// Returns advice on what to do next, as the end of the message.
    fn advice(&self, kind: ErrorKind, provider: Option<LlmProvider>) -> String {
        match kind {
            ErrorKind::Auth => {
                let names = provider.map_or(&[][..], LlmProvider::key_variables).join(" or ");
                let or = if names.is_empty() { "" } else { ", or " };
                match &self.key_source {
                    KeySource::Unknown if names.is_empty() => "; check the API key".to_owned(),
                    KeySource::Unknown => format!("; check the API key ({names})"),
                    KeySource::NoKey => {
                        format!("; no API key was sent; set {names}{or}the option `api_key`")
                    }
                    KeySource::From(source) => format!("; check the API key (from {source})"),
                }
            }
            ErrorKind::ContextLength => "; shorten the prompt".to_owned(),
            // OpenAI, OpenRouter and Xiaomi also return 404 if a model takes no tools or no
            // pictures.
            ErrorKind::NotFound => {
                let model = self.model.as_deref().zip(provider);
                let similar = model.and_then(|(name, of)| model::similar(name, of));
                let meant = similar.map(|name| format!(" (did you mean {name:?}?)"));
                let meant = meant.unwrap_or_default();
                format!(
                    "; check the model's name{meant}, whether the model supports the request, and the \
                     base URL"
                )
            }
            ErrorKind::Quota => "; the account's credit or quota is used up".to_owned(),
            // Servers that are no LLM servers return these.
            _ if matches!(self.status, Some(405 | 501)) => "; check the base URL".to_owned(),
            _ => {
                let wait = self.retry_after.map(|wait| wait.as_secs_f64().ceil());
                wait.map(|wait| format!("; try again in {wait} s")).unwrap_or_default()
            }
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.0.source.as_deref()?)
    }
}

impl ErrorKind {
    /// Returns the kind of the [`Error`] inside an [`anyhow::Error`], even if context was added. It
    /// returns `None` if the error has another type.
    pub fn of(error: &anyhow::Error) -> Option<Self> {
        Error::of(error).map(Error::kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word_wide_and_crosses_threads() {
        fn crosses_threads<T: Send + Sync + 'static>() {}
        crosses_threads::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn a_kind_is_written_as_it_is_serialised() {
        for kind in [ErrorKind::Auth, ErrorKind::ContextLength, ErrorKind::RateLimited] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(kind.to_string(), kind.as_str());
            assert_eq!(serde_json::from_value::<ErrorKind>(kind.as_str().into()).unwrap(), kind);
        }
    }

    #[test]
    fn the_kind_is_found_through_context() {
        let error = anyhow::Error::new(Error::new(ErrorKind::Limit, None, "x")).context("while");
        assert_eq!(ErrorKind::of(&error), Some(ErrorKind::Limit));
        assert_eq!(ErrorKind::of(&anyhow::anyhow!("another")), None);
    }
}
