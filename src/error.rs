//! What can go wrong: [`Error`], which tells what happened, with whom, and what to do next.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::provider::LlmProvider;
use crate::response::GenerationResponse;

/// Why a stream ended other than well.
///
/// Streams yield [`anyhow::Result`]; the error inside is always this one, and [`Error::of`] finds
/// it through any context that was added on the way. What to do next depends on the
/// [`kind`](Self::kind):
///
/// ```no_run
/// use kerb_stream::{Error, ErrorKind, generate};
///
/// match generate("Hello", "gpt-4o-mini") {
///     Ok(response) => println!("{}", response.content),
///     Err(error) => match Error::of(&error).map(Error::kind) {
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
#[non_exhaustive]
pub enum Error {
    /// The provider said no, with a status or inside the stream.
    Api(Box<ApiError>),
    /// The caller's [`CancelHandle`](crate::CancelHandle) ended the stream.
    Cancelled(Box<Failure>),
    /// The request cannot be made: an option, a key, a model or a URL is missing or wrong.
    Config(Box<Failure>),
    /// The answer is not what the protocol says.
    Decode(Box<Failure>),
    /// The answer was cut: the stream ended before the model did.
    Incomplete(Box<Failure>),
    /// The answer grew beyond a limit; the message names the option that raises it.
    Limit(Box<Failure>),
    /// No answer came: name look-up, connection, TLS or proxy.
    Network(Box<Failure>),
    /// Nothing came for too long; the message names the option.
    Timeout(Box<Failure>),
}

impl Error {
    /// The `Error` inside an [`anyhow::Error`], through any context.
    pub fn of(error: &anyhow::Error) -> Option<&Self> {
        error.downcast_ref()
    }

    /// What kind of failure it is, by what a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Api(api) => api.kind,
            Self::Cancelled(_) => ErrorKind::Cancelled,
            Self::Config(failure) => failure.kind.unwrap_or(ErrorKind::Config),
            Self::Decode(_) => ErrorKind::Decode,
            Self::Incomplete(_) => ErrorKind::Incomplete,
            Self::Limit(_) => ErrorKind::Limit,
            Self::Network(_) => ErrorKind::Network,
            Self::Timeout(_) => ErrorKind::Timeout,
        }
    }

    /// The HTTP status that the provider answered with; `None` for an error inside a stream (whose
    /// status was 200) and wherever there was no answer.
    pub fn status(&self) -> Option<u16> {
        self.api().and_then(|api| api.status)
    }

    /// How long the provider asks to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.api().and_then(|api| api.retry_after)
    }

    /// Whether a time limit ran out.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Whether the same request could succeed later: the provider is overloaded, out of order or
    /// limits the rate, or the connection failed. A provider that says itself that another try is
    /// of no use (`x-should-retry: false`) is believed.
    ///
    /// The crate has tried again by itself before the first chunk
    /// ([`GenerationConfig::max_retries`](crate::GenerationConfig::max_retries)). After it, a retry
    /// asks for a new answer and pays for it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Api(api) => {
                let may_pass = matches!(
                    api.kind,
                    ErrorKind::RateLimited | ErrorKind::Overloaded | ErrorKind::Server
                );
                may_pass && api.should_retry.unwrap_or(true)
            }
            Self::Incomplete(_) | Self::Timeout(_) => true,
            Self::Network(failure) => !failure.permanent,
            Self::Cancelled(_) | Self::Config(_) | Self::Decode(_) | Self::Limit(_) => false,
        }
    }

    /// The provider that it happened with, once that is known.
    pub fn provider(&self) -> Option<LlmProvider> {
        match self.failure() {
            Ok(failure) => failure.provider,
            Err(api) => Some(api.provider),
        }
    }

    /// What had arrived before the failure, from [`generate`](crate::generate()) and
    /// [`into_response`](crate::GenerationStream::into_response). While iterating,
    /// [`GenerationStream::response`](crate::GenerationStream::response) has it.
    pub fn partial(&self) -> Option<&GenerationResponse> {
        match self.failure() {
            Ok(failure) => failure.partial.as_deref(),
            Err(api) => api.partial.as_deref(),
        }
    }

    fn api(&self) -> Option<&ApiError> {
        self.failure().err()
    }

    fn failure(&self) -> Result<&Failure, &ApiError> {
        match self {
            Self::Api(api) => Err(api),
            Self::Cancelled(failure)
            | Self::Config(failure)
            | Self::Decode(failure)
            | Self::Incomplete(failure)
            | Self::Limit(failure)
            | Self::Network(failure)
            | Self::Timeout(failure) => Ok(failure),
        }
    }

    pub(crate) fn with_partial(mut self, response: GenerationResponse) -> Self {
        let partial = Some(Arc::new(response));
        match &mut self {
            Self::Api(api) => api.partial = partial,
            Self::Cancelled(failure)
            | Self::Config(failure)
            | Self::Decode(failure)
            | Self::Incomplete(failure)
            | Self::Limit(failure)
            | Self::Network(failure)
            | Self::Timeout(failure) => failure.partial = partial,
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failure() {
            Ok(failure) => failure.fmt(f),
            Err(api) => api.fmt(f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.failure().ok()?.source.as_ref()?;
        Some(source.as_ref())
    }
}

/// What kind of failure an [`Error`] is, by what a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The key is missing, wrong, or not allowed to do this.
    Auth,
    /// The caller cancelled.
    Cancelled,
    /// The request cannot be made as configured.
    Config,
    /// The prompt does not fit the model's context.
    ContextLength,
    /// The answer is not what the protocol says.
    Decode,
    /// The answer was cut short on its way.
    Incomplete,
    /// The provider does not accept the request as it is.
    InvalidRequest,
    /// The answer grew beyond a limit.
    Limit,
    /// No connection.
    Network,
    /// There is no such model or address, or no model of this name that can do what is asked.
    NotFound,
    /// The provider has more to do than it can; later may work.
    Overloaded,
    /// The account's credit or quota is used up; waiting does not help, or takes hours.
    Quota,
    /// Too many requests; wait.
    RateLimited,
    /// Something broke at the provider.
    Server,
    /// Nothing came for too long.
    Timeout,
}

/// An error that the provider told, with a status or inside the stream.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApiError {
    /// Who told it.
    pub provider: LlmProvider,
    /// What kind of error it is, judged by type and code, the status, and at last by what the message
    /// says.
    pub kind: ErrorKind,
    /// The HTTP status; `None` for an error inside the stream.
    pub status: Option<u16>,
    /// The provider's message, on one line, without control characters and without the caller's
    /// key.
    pub message: String,
    /// The provider's code, such as `invalid_api_key`; a number is given as its digits.
    pub code: Option<String>,
    /// The provider's type, such as `invalid_request_error`.
    pub error_type: Option<String>,
    /// What the provider's support asks for.
    pub request_id: Option<String>,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// The response's body or the event's data as it came, up to 64 KiB, without the caller's key.
    /// What has no field here stands in it, such as Groq's `failed_generation`.
    pub body: String,
    /// Whether the provider advises another try. It can forbid one, but not make one of use.
    pub(crate) should_retry: Option<bool>,
    /// The headers about rate limits, on their way to the response.
    pub(crate) rate_limit: BTreeMap<String, String>,
    pub(crate) partial: Option<Arc<GenerationResponse>>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.provider)?;
        match self.status {
            Some(status) => write!(f, " answered {status}")?,
            None => f.write_str(" reports an error inside the stream")?,
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message.trim_end_matches('.'))?;
        }
        let told =
            [("type", &self.error_type), ("code", &self.code), ("request", &self.request_id)];
        let mut open = false;
        for (name, value) in told.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            f.write_str(if open { ", " } else { " (" })?;
            write!(f, "{name} {value}")?;
            open = true;
        }
        f.write_str(if open { ")" } else { "" })?;
        match self.kind {
            ErrorKind::Auth => match self.provider.key_variables() {
                [] => f.write_str("; check the API key"),
                names => write!(f, "; check the API key ({})", names.join(" or ")),
            },
            ErrorKind::ContextLength => f.write_str("; shorten the prompt"),
            // OpenAI, OpenRouter and Xiaomi say 404, too, of a model that takes no tools or pictures.
            ErrorKind::NotFound => f.write_str(
                "; check the model's name, whether the model can do what is asked, and the base URL",
            ),
            ErrorKind::Quota => f.write_str("; the account's credit or quota is used up"),
            _ => match self.retry_after {
                Some(wait) => write!(f, "; try again in {} s", wait.as_secs_f64().ceil()),
                None => Ok(()),
            },
        }
    }
}

impl StdError for ApiError {}

/// What an [`Error`] that is not the provider's own word consists of: its `Display` is the message.
#[derive(Debug, Clone)]
pub struct Failure {
    provider: Option<LlmProvider>,
    message: String,
    /// Where it is more than the variant tells: a key that is missing.
    kind: Option<ErrorKind>,
    permanent: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    partial: Option<Arc<GenerationResponse>>,
}

impl Failure {
    /// `message` says what happened and what to do next; where the provider is known, it goes
    /// first.
    pub(crate) fn new(
        provider: impl Into<Option<LlmProvider>>,
        message: impl Into<String>,
    ) -> Box<Self> {
        Box::new(Self {
            provider: provider.into(),
            message: message.into(),
            kind: None,
            permanent: false,
            source: None,
            partial: None,
        })
    }

    /// The cause, which `Display` leaves out.
    pub(crate) fn caused_by(
        mut self: Box<Self>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Box<Self> {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same without its provider, for the cause of a failure that names it.
    pub(crate) fn unnamed(mut self: Box<Self>) -> Box<Self> {
        self.provider = None;
        self
    }

    /// A kind other than the variant's own.
    pub(crate) fn of_kind(mut self: Box<Self>, kind: ErrorKind) -> Box<Self> {
        self.kind = Some(kind);
        self
    }

    /// Another try would meet the same failure.
    pub(crate) fn permanent(mut self: Box<Self>) -> Box<Self> {
        self.permanent = true;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(provider) = self.provider {
            write!(f, "{provider}: ")?;
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_small_and_crosses_threads() {
        fn crosses_threads<T: Send + Sync + 'static>() {}
        crosses_threads::<Error>();
        assert_eq!(size_of::<Error>(), 16);
    }
}
