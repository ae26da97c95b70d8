//! What can go wrong: [`Error`] tells what happened, with whom, and what to do next.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::model;
use crate::names::names;
use crate::provider::LlmProvider;
use crate::response::GenerationResponse;

/// Why a stream ended other than well.
///
/// Streams yield [`anyhow::Result`]; the error inside is always this one. [`ErrorKind::of`] finds
/// its kind, and [`Error::of`] the error itself, through any context that was added on the way.
/// What to do next depends on the [`kind`](Self::kind):
///
/// ```no_run
/// use kerb_stream::{ErrorKind, generate};
///
/// match generate("Hello", "gpt-4o-mini") {
///     Ok(response) => println!("{}", response.content),
///     Err(error) => match ErrorKind::of(&error) {
///         Some(ErrorKind::Auth) => eprintln!("Set OPENAI_API_KEY, please."),
///         Some(ErrorKind::RateLimited | ErrorKind::Overloaded) => eprintln!("Try again later."),
///         _ => eprintln!("{error:#}"),
///     },
/// }
/// ```
///
/// `Display` is one line, without the cause; `{:#}` on the [`anyhow::Error`] prints the chain.
/// Neither shows a key.
#[derive(Debug, Clone)]
pub struct Error(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    kind: ErrorKind,
    provider: Option<LlmProvider>,
    message: String,
    /// The same request would meet the same failure again, though others of its kind may pass.
    is_permanent: bool,
    /// What the provider told, if the error is its own word.
    report: Option<Report>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    partial: Option<Arc<GenerationResponse>>,
}

/// What [`Display`](fmt::Display) adds to the message of a provider's error: what the provider told,
/// and what we know about the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Where the provider was reached, if that is not its own address.
    pub(crate) address: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) key_source: KeySource,
    /// `None` for an error inside a stream.
    pub(crate) status: Option<u16>,
    /// Such as `invalid_api_key`; a number is given as its digits.
    pub(crate) code: Option<String>,
    /// Such as `invalid_request_error`.
    pub(crate) error_type: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: String,
    /// The headers about rate limits, on their way to the response.
    pub(crate) rate_limit: BTreeMap<String, String>,
}

/// Where the key of a request came from.
#[derive(Debug, Clone, Default)]
pub(crate) enum KeySource {
    /// The response was given by the caller.
    #[default]
    Unknown,
    /// No key was sent.
    NoKey,
    /// An option, a variable or a header.
    From(String),
}

impl Error {
    /// The `Error` inside an [`anyhow::Error`], through any context.
    pub fn of(error: &anyhow::Error) -> Option<&Self> {
        error.downcast_ref()
    }

    /// What kind of failure it is, by what a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What happened: the provider's own message where it is the provider that reports the failure,
    /// else the crate's. It is one line, without control characters and without the caller's key.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The provider that it happened with, once that is known.
    pub fn provider(&self) -> Option<LlmProvider> {
        self.0.provider
    }

    /// The HTTP status that the provider answered with; `None` for an error inside a stream (whose
    /// status was 200) and wherever there was no response.
    pub fn status(&self) -> Option<u16> {
        self.report()?.status
    }

    /// The provider's code, such as `invalid_api_key`, else its type, such as
    /// `invalid_request_error`. A number is given as its digits.
    pub fn code(&self) -> Option<&str> {
        let report = self.report()?;
        report.code.as_deref().or(report.error_type.as_deref())
    }

    /// The id of the request, which the provider's support asks for.
    pub fn request_id(&self) -> Option<&str> {
        self.report()?.request_id.as_deref()
    }

    /// The body of the provider's error or the event's data as it came, up to 64 KiB, without the
    /// caller's key. Whatever has no accessor here stands in it, such as Groq's
    /// `failed_generation`. `None` where the error is not the provider's own word.
    pub fn body(&self) -> Option<&str> {
        Some(&self.report()?.body)
    }

    /// How long the provider asks to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.report()?.retry_after
    }

    /// Whether the same request could succeed later: the provider is overloaded, out of order or
    /// limits the rate, the connection failed, or the answer was cut or timed out. A provider that
    /// says itself that another try is of no use (`x-should-retry: false`) is believed.
    ///
    /// Before the first chunk the crate has tried all but timeouts again by itself
    /// ([`GenerationConfig::max_retries`](crate::GenerationConfig::max_retries)). After it, a retry
    /// asks for a new answer and pays for it.
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::{Incomplete, Network, Overloaded, RateLimited, Server, Timeout};
        let may_pass = matches!(
            self.0.kind,
            Incomplete | Network | Overloaded | RateLimited | Server | Timeout
        );
        may_pass && !self.0.is_permanent
    }

    /// What had arrived before the failure, from [`generate`](crate::generate()) and
    /// [`into_response`](crate::GenerationStream::into_response). While iterating,
    /// [`GenerationStream::response`](crate::GenerationStream::response) has it.
    pub fn partial(&self) -> Option<&GenerationResponse> {
        self.0.partial.as_deref()
    }

    /// `message` says what happened and what to do next; `Display` puts the provider before it.
    pub(crate) fn new(
        kind: ErrorKind,
        provider: impl Into<Option<LlmProvider>>,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Details {
            kind,
            provider: provider.into(),
            message: message.into(),
            is_permanent: false,
            report: None,
            source: None,
            partial: None,
        }))
    }

    pub(crate) fn cancelled(provider: impl Into<Option<LlmProvider>>) -> Self {
        Self::new(ErrorKind::Cancelled, provider, "the caller cancelled the answer")
    }

    /// The cause, which `Display` leaves out.
    pub(crate) fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Another try would meet the same failure.
    pub(crate) fn permanent(mut self) -> Self {
        self.0.is_permanent = true;
        self
    }

    /// The message is the provider's own.
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

    /// The same without its provider, for the cause of an error that names it.
    pub(crate) fn without_provider(mut self) -> Self {
        self.0.provider = None;
        self
    }

    /// Changes every text that came from a server, to take keys out of it.
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
        let Details { kind, provider, message, report, .. } = &*self.0;
        if let Some(provider) = provider {
            write!(f, "{provider}")?;
        }
        let Some(report) = report else {
            let colon = if provider.is_some() { ": " } else { "" };
            return write!(f, "{colon}{message}");
        };
        let Report { address, model, status, code, error_type, request_id, .. } = report;
        if let Some(address) = address {
            write!(f, " at {address}")?;
        }
        match status {
            Some(status) => write!(f, " answered {status}")?,
            None => f.write_str(" reports an error inside the stream")?,
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
    /// What to do next, as it follows the message.
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
            // OpenAI, OpenRouter and Xiaomi say 404, too, of a model that takes no tools or pictures.
            ErrorKind::NotFound => {
                let model = self.model.as_deref().zip(provider);
                let similar = model.and_then(|(name, of)| model::similar(name, of));
                let meant = similar.map(|name| format!(" (did you mean {name:?}?)"));
                let meant = meant.unwrap_or_default();
                format!(
                    "; check the model's name{meant}, whether the model can do what is asked, and \
                     the base URL"
                )
            }
            ErrorKind::Quota => "; the account's credit or quota is used up".to_owned(),
            _ => {
                let wait = self.retry_after.map(|wait| wait.as_secs_f64().ceil());
                wait.map(|wait| format!("; try again in {wait} s")).unwrap_or_default()
            }
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.0.source.as_ref()?;
        Some(source.as_ref())
    }
}

names! {
    /// What kind of failure an [`Error`] is, by what a caller can do about it.
    #[non_exhaustive]
    pub enum ErrorKind {
        /// The key is missing, wrong, or not allowed to do this.
        Auth = "auth",
        /// The caller's [`CancelHandle`](crate::CancelHandle) ended the stream.
        Cancelled = "cancelled",
        /// The request cannot be made: an option, a model or a URL is missing or wrong.
        Config = "config",
        /// The prompt does not fit the model's context.
        ContextLength = "context_length",
        /// The response is not what the protocol says.
        Decode = "decode",
        /// The answer was cut: the stream ended before the model did.
        Incomplete = "incomplete",
        /// The provider does not accept the request as it is.
        InvalidRequest = "invalid_request",
        /// The answer grew beyond a limit; the message names the option that raises it.
        Limit = "limit",
        /// No response came: name look-up, connection, TLS or proxy failed.
        Network = "network",
        /// There is no such model or address, or no model of this name that can do what is asked.
        NotFound = "not_found",
        /// The provider has more to do than it can; later may work.
        Overloaded = "overloaded",
        /// The account's credit or quota is used up; waiting does not help, or takes hours.
        Quota = "quota",
        /// Too many requests; wait.
        RateLimited = "rate_limited",
        /// Something broke at the provider.
        Server = "server",
        /// Nothing came for too long; the message names the option.
        Timeout = "timeout",
    }

    /// The kind's name in snake case, as it is also serialised: `"rate_limited"`.
    pub fn as_str;
}

impl ErrorKind {
    /// The kind of the [`Error`] inside an [`anyhow::Error`], through any context; `None` where the
    /// error is another one.
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
