//! Stream answers from language models through a plain, blocking iterator.
//!
//! ```no_run
//! use kerb_stream::{ModelName, generate_stream};
//!
//! for chunk in generate_stream("Why is the sky blue?", ModelName::GPT_4O_MINI) {
//!     print!("{}", chunk?.content);
//! }
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! # Overview
//!
//! [`generate_stream`] asks a model and gives its answer piece by piece while it is written;
//! [`generate()`] waits for the whole. Both take whatever reads as a [`Prompt`] (text, a
//! [`Message`], a conversation) and whatever reads as a [`GenerationConfig`] (a [`ModelName`], any
//! model's name, or a configuration). [`GenerationStream`] is an iterator of [`StreamChunk`]s,
//! folds them into a [`GenerationResponse`] as they pass, and can be cancelled from another thread
//! ([`CancelHandle`]). Every failure is an [`Error`].
//!
//! What a call does, file by file:
//!
//! ```text
//! message ─┐            ┌─ decode: is it whole? ────────────────┐
//!          ├─ request ─ http ─▶ bytes ─ sse ─▶ events ─ protocol ─▶ chunks ─ stream ─▶ you
//! config ──┘  └─ protocol                                                     └─ callback, response
//! ```
//!
//! # Features and non-features
//!
//! - **Every provider, one meaning.** OpenAI, Anthropic, Google, Mistral, Cohere, some thirty
//!   addresses of compatible vendors, and the servers people run themselves.
//!   [`guide::providers`] says what each option, finish reason and number means with each.
//! - **Whole or cut.** An answer that is cut short on its way ends with [`ErrorKind::Incomplete`],
//!   never like a short answer.
//! - **Options reach the wire** or are an error that names them.
//! - **Nothing hangs, leaks or grows without limit.** Each phase has a time limit, each thing that
//!   a server can grow a size limit, keys go to their own provider only and are never shown.
//!   [`guide::faults`] lists what you see when servers and networks misbehave.
//! - **Light.** No async runtime, no thread (but for the look-up of a name, which could not be
//!   limited otherwise), one heap allocation for each piece of text. [`guide::performance`] has the
//!   measurements.
//!
//! It does not reconnect in the middle of an answer, since that would ask and pay again; it does
//! not follow redirects; and it does nothing but chat: no embeddings, no files, no second choice.
//!
//! # Usage
//!
//! Iterate to watch, then ask the stream for the whole:
//!
//! ```no_run
//! use std::io::{Write, stdout};
//!
//! use kerb_stream::{GenerationConfig, Message, generate_stream};
//!
//! let prompt = [Message::system("Be brief."), Message::user("Why is the sky blue?")];
//! let config = GenerationConfig::new("mistral-small-latest").temperature(0.3);
//!
//! let mut stream = generate_stream(&prompt, config);
//! for chunk in &mut stream {
//!     print!("{}", chunk?.content);
//!     stdout().flush()?;
//! }
//! let response = stream.into_response()?;
//! println!("\n{:?}, {:?}", response.finish_reason, response.usage);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Let the model use tools, run them, and hand back what they say:
//!
//! ```no_run
//! use kerb_stream::{GenerationConfig, Message, Tool, generate};
//! use serde_json::json;
//!
//! let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
//! let weather = Tool::function("weather", "Today's weather in a city.", schema);
//! let config = GenerationConfig::new("gpt-4o-mini").tools([weather]);
//!
//! let mut history = vec![Message::user("Do I need an umbrella in Oslo?")];
//! let answer = loop {
//!     let response = generate(&history, &config)?;
//!     if response.tool_calls.is_empty() {
//!         break response.content;
//!     }
//!     history.push(Message::from(&response));
//!     for call in &response.tool_calls {
//!         let arguments: serde_json::Value = call.parse()?;
//!         let city = arguments["city"].as_str().unwrap_or("this city");
//!         history.push(Message::tool(&call.id, format!("It rains in {city}.")));
//!     }
//! };
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Name any other server by its address, and its protocol if that is not Chat Completions:
//!
//! ```
//! use kerb_stream::{GenerationConfig, Protocol};
//!
//! let local = GenerationConfig::new("smollm2").base_url("http://localhost:8080/v1");
//! let azure = GenerationConfig::new("gpt-4o")
//!     .base_url("https://example.openai.azure.com/openai/v1")
//!     .header("api-key", "…");
//! let gateway = GenerationConfig::new("claude-sonnet-5")
//!     .protocol(Protocol::Messages)
//!     .base_url("https://gateway.example/anthropic/v1")
//!     .api_key("…");
//! ```
//!
//! # Logging
//!
//! The crate logs through the crate `log`: retries at info, connections at debug,
//! never a key. Below it, ureq logs every byte at trace, keys included: see [`guide::logging`].
//!
//! # Crate features
//!
//! - `rustls` (default): TLS, and so every hosted provider. Without it there is plain HTTP to
//!   servers on this machine, and https is an error that says so.
//! - `platform-verifier`: trusts what the operating system trusts, instead of Mozilla's roots
//!   compiled in.

mod attachment;
mod cancel;
mod chunk;
mod config;
mod decode;
mod endpoint;
mod environment;
mod error;
mod http;
mod message;
mod model;
mod names;
mod protocol;
mod provider;
mod redact;
mod request;
mod response;
mod retry;
mod seconds;
mod sse;
mod stream;
mod terminal;
mod tool;

pub mod guide;

pub use attachment::Attachment;
pub use cancel::CancelHandle;
pub use chunk::{FinishReason, StreamChunk, ToolCallDelta, Usage};
pub use config::{GenerationConfig, Proxy, Reasoning, ResponseFormat};
pub use environment::Environment;
pub use error::{Error, ErrorKind};
pub use message::{Message, MessageRole, Prompt, ToolCall};
pub use model::ModelName;
pub use protocol::Adaptation;
pub use provider::{LlmProvider, Protocol};
pub use request::RequestPreview;
pub use response::GenerationResponse;
pub use stream::GenerationStream;
pub use terminal::{TerminalSafe, terminal_safe};
pub use tool::{Tool, ToolChoice};

/// Asks a model, and gives its answer piece by piece while it is written.
///
/// `prompt` is text, a [`Message`], or a collection of messages; `config` is a [`ModelName`], any
/// model's name (`"gpt-4o-mini"`, `"ollama::llama3.2"`), or a [`GenerationConfig`]. Nothing is sent
/// before the first `next`, and nothing can fail before it: every error is an item, and the last
/// one.
///
/// ```no_run
/// use kerb_stream::generate_stream;
///
/// let mut full_content = String::new();
/// for chunk in generate_stream("Why is the sky blue?", "gpt-4o-mini") {
///     let chunk = chunk?;
///     print!("{}", chunk.content);
///     full_content += &chunk.content;
/// }
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn generate_stream(
    prompt: impl Into<Prompt>,
    config: impl Into<GenerationConfig>,
) -> GenerationStream {
    GenerationStream::new(prompt.into(), config.into())
}

/// Asks a model, and waits for the whole answer: the same stream, folded.
///
/// ```no_run
/// let response = kerb_stream::generate("Why is the sky blue?", "gpt-4o-mini")?;
/// println!("{}", response.content);
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// Whatever ends the stream other than well; see [`Error`]. [`Error::partial`] has what had
/// arrived.
pub fn generate(
    prompt: impl Into<Prompt>,
    config: impl Into<GenerationConfig>,
) -> anyhow::Result<GenerationResponse> {
    generate_stream(prompt, config).into_response()
}

/// The README's programs are compiled, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests;
