//! Stream answers from language models through a plain, blocking iterator, without an async
//! runtime.
//!
//! ```no_run
//! use std::io::{Write, stdout};
//!
//! use kerb_stream::generate_stream;
//!
//! for chunk in generate_stream("Why is the sky blue?", "mistral-small-latest") {
//!     print!("{}", chunk?.content);
//!     stdout().flush()?; // Rust's standard output keeps text back until a line ends.
//! }
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! The same call works with OpenAI, Anthropic, Google, Mistral, Cohere, about thirty services that
//! accept OpenAI's request format, and servers that you run yourself. [`guide::providers`] lists
//! all of them. It also says what each option means with each protocol (the format of requests and
//! responses), and how the crate reads finish reasons (why the model stopped) and token counts. A
//! token is a piece of a word. Providers measure the length and the price of an answer in tokens.
//!
//! # The loop
//!
//! [`generate_stream`] takes a prompt and a configuration:
//!
//! - The prompt is text, a [`Message`], or a collection of messages.
//! - The configuration is the name of a model, a constant of [`ModelName`], or a
//!   [`GenerationConfig`] with more options. The model's name implies the provider, as in
//!   `"mistral-small-latest"`, or contains it, as in `"ollama::llama3.2"`. The API key comes from
//!   the provider's environment variable, such as `MISTRAL_API_KEY`.
//!
//! It returns a [`GenerationStream`]: an iterator of [`StreamChunk`]s. A chunk is a piece of the
//! answer, such as text, reasoning (the model's thoughts before the answer) or a part of a tool
//! call (the model's request to run one of your functions). The stream is lazy: it sends nothing
//! before the first `next`. Dropping it before the answer ends closes the connection. A
//! [`callback`](GenerationStream::callback) receives each chunk before the loop does. A
//! [`CancelHandle`] ends the stream from another thread.
//!
//! A program that only prints the text can use [`write_to`](GenerationStream::write_to), which
//! writes and flushes each piece:
//!
//! ```no_run
//! use kerb_stream::{GenerationConfig, generate_stream};
//!
//! let config = GenerationConfig::new("mistral-small-latest").temperature(0.3).max_tokens(500);
//! generate_stream("Why is the sky blue?", config).write_to(&mut std::io::stdout())?;
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Options that you do not set are not sent; only Anthropic requires
//! [`max_tokens`](GenerationConfig#structfield.max_tokens). No option that you set is lost silently.
//! The crate sends it; or it sends what comes closest at this provider, and lists the change in
//! [`RequestPreview::adaptations`]; or it returns an error that names the option.
//!
//! # The response
//!
//! The stream folds the chunks into a [`GenerationResponse`] while it hands them out. After the
//! loop, [`into_response`](GenerationStream::into_response) returns the whole answer with its
//! finish reason, usage (token counts) and timing:
//!
//! ```no_run
//! use std::io::{Write, stdout};
//!
//! use kerb_stream::generate_stream;
//!
//! let mut stream = generate_stream("Why is the sky blue?", "mistral-small-latest");
//! for chunk in &mut stream {
//!     print!("{}", chunk?.content);
//!     stdout().flush()?;
//! }
//! let response = stream.into_response()?;
//! println!("\n{:?}, {:?}", response.finish_reason, response.usage);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! [`generate()`] is the same stream without the loop: it waits for the whole answer.
//!
//! # History
//!
//! The crate does not remember earlier questions. You send the whole conversation with each
//! request:
//!
//! ```no_run
//! use kerb_stream::{Message, generate};
//!
//! let mut history = vec![Message::system("Be brief."), Message::user("Why is the sky blue?")];
//! let response = generate(&history, "mistral-small-latest")?;
//!
//! history.push(response.into());
//! history.push(Message::user("And why is it red in the evening?"));
//! let response = generate(&history, "mistral-small-latest")?;
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Add the model's turn with `response.into()`. Besides the text, that [`Message`] holds the tool
//! calls and the data that some providers require back unchanged, such as reasoning with the
//! signature by which the provider recognises it. The crate sends that data back with the next
//! request. A history can be saved with serde and continued later.
//!
//! # Typed answers
//!
//! If the answer is JSON, [`GenerationResponse::parse`] reads it as a type of yours, and
//! [`GenerationStream::elements`] gives the elements of a list in it while the model writes them.
//! [`ResponseFormat::json_schema`] makes the model write JSON that fits a schema; with the feature
//! `schemars`, the schema follows from the type.
//!
//! # Tools
//!
//! Describe your functions as [`Tool`]s. [`run_tools`](GenerationStream::run_tools) calls a closure
//! for each call of the model, tells the result to the model, and goes on until the model answers:
//!
//! ```no_run
//! use kerb_stream::{GenerationConfig, Tool, generate_stream};
//! use serde_json::json;
//!
//! #[derive(serde::Deserialize)]
//! struct Place { city: String }
//!
//! let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
//! let weather = Tool::function("weather", "Today's weather in a city.", schema);
//! let config = GenerationConfig::new("mistral-small-latest").tools([weather]);
//!
//! let stream = generate_stream("Do I need an umbrella in Oslo?", &config).run_tools(|call| {
//!     let Place { city } = call.parse()?;
//!     Ok(format!("It rains in {city}."))
//! });
//! println!("{}", stream.into_response()?.content);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! An error of the closure is told to the model. Each response costs money, since the whole
//! conversation is sent again: [`max_turns`] limits their number, and a [`CancelHandle`] ends the
//! stream. [`new_messages`](GenerationStream::new_messages) returns the messages to append to the
//! history, at any time. A program can also run the calls in
//! [`GenerationResponse::tool_calls`] by itself, and send each result as [`Message::tool`] or
//! [`Message::tool_error`].
//!
//! Providers run tools of their own, too. [`Tool::web_search`] asks for a web search in the form of
//! each provider, and [`Tool::hosted`] for any other of them. What such a tool does arrives in
//! [`activity`](ChunkExtras::activity), and the pages that the text cites in
//! [`sources`](ChunkExtras::sources).
//!
//! # Errors
//!
//! Errors arrive as the last item of the stream. Chunks already received remain valid:
//! [`GenerationStream::response`] has their text, and so has [`Error::partial`] after a failed
//! [`generate()`]. If the stream breaks off, the error is [`ErrorKind::Incomplete`], so a part
//! of an answer never looks like a whole one. An answer that reaches `max_tokens` is no error: its
//! finish reason is [`FinishReason::Length`].
//!
//! [`ErrorKind::of`] returns the kind of an error, which decides what to do next. [`Error::of`]
//! returns the details: the message, the HTTP status, the provider's error code, the request ID.
//!
//! ```no_run
//! use kerb_stream::{ErrorKind, generate_stream};
//!
//! let stream = generate_stream("Why is the sky blue?", "mistral-small-latest");
//! if let Err(error) = stream.write_to(&mut std::io::stdout()) {
//!     match ErrorKind::of(&error) {
//!         Some(ErrorKind::Auth) => eprintln!("MISTRAL_API_KEY is missing or wrong."),
//!         Some(ErrorKind::Incomplete) => eprintln!("\n[the answer was cut off]"),
//!         _ => eprintln!("\n{error:#}"),
//!     }
//! }
//! ```
//!
//! [`guide::faults`] lists the errors that a caller gets when servers and networks misbehave.
//!
//! # Limits
//!
//! Waiting and memory are limited, with one exception: if you decode your own reader with
//! [`from_reader`](GenerationStream::from_reader), a read of that reader can block without limit.
//! These fields of [`GenerationConfig`] are the limits. A response body has the format server-sent
//! events (SSE): it is a sequence of small blocks of text. Each block is an event.
//!
//! | Field | Default | It limits |
//! |---|---|---|
//! | [`connect_timeout`] | 10 s | DNS lookup, connection and TLS handshake |
//! | [`first_byte_timeout`] | 600 s | the wait for the response headers |
//! | [`idle_timeout`] | 300 s | the time without a single byte |
//! | [`stall_timeout`] | 900 s | the time without progress, for example if only pings arrive (events that keep the connection open) |
//! | [`max_event_bytes`] | 32 MiB | one line or event |
//! | [`max_response_bytes`] | 64 MiB | one answer; the results of the tools that run after it |
//! | [`max_tool_calls`] | 1,024 | the tool calls in one answer |
//! | [`max_turns`] | 16 | the answers of one stream that runs tools, or goes on after a pause |
//! | [`max_retries`] | 2 | retries, which happen only before the first piece of the answer |
//! | [`max_retry_wait`] | 60 s | the wait that a server may ask for; if it asks for more, there is no retry |
//!
//! No field limits the time of a whole answer, because a long answer that makes progress is no
//! fault. A [`CancelHandle`] can end it.
//!
//! [`connect_timeout`]: GenerationConfig#structfield.connect_timeout
//! [`first_byte_timeout`]: GenerationConfig#structfield.first_byte_timeout
//! [`idle_timeout`]: GenerationConfig#structfield.idle_timeout
//! [`stall_timeout`]: GenerationConfig#structfield.stall_timeout
//! [`max_event_bytes`]: GenerationConfig#structfield.max_event_bytes
//! [`max_response_bytes`]: GenerationConfig#structfield.max_response_bytes
//! [`max_tool_calls`]: GenerationConfig#structfield.max_tool_calls
//! [`max_turns`]: GenerationConfig#structfield.max_turns
//! [`max_retries`]: GenerationConfig#structfield.max_retries
//! [`max_retry_wait`]: GenerationConfig#structfield.max_retry_wait
//!
//! The crate does not do everything:
//!
//! - It does not reconnect in the middle of an answer, because that would send the prompt again and
//!   cost the same again.
//! - It does not follow redirects. A key from an environment variable is sent only to: the
//!   provider's own address; the address in the provider's base URL variable; or the `.base_url(…)`
//!   of a configuration that also sets the provider. A key from `.api_key(…)` is sent to your
//!   `.base_url(…)`. If you set no base URL, it is sent to the address in the provider's base URL
//!   variable, or else to the provider's own. Error messages never show a key.
//! - It is for conversations, which may contain images. It has no embeddings, no batches, no image
//!   API (pictures come only as part of an answer), and no files of other kinds. If a response has
//!   several alternative answers (choices), only the first is read.
//!
//! It stays light: no async runtime, and one heap allocation for each piece of text. The only extra
//! threads look up names and open connections, because neither could be cancelled otherwise. A
//! server on this machine is usually reached without one. [`guide::performance`] has the
//! measurements.
//!
//! # Other servers
//!
//! Set the base URL to reach any other server. Most servers understand Chat Completions, OpenAI's
//! common request format. If the server does not, set the protocol, too:
//!
//! ```
//! use kerb_stream::{GenerationConfig, Protocol};
//!
//! let local = GenerationConfig::new("smollm2").base_url("http://localhost:8080/v1");
//! let azure = GenerationConfig::new("my-deployment")
//!     .base_url("https://example.openai.azure.com/openai/v1")
//!     .header("api-key", "…");
//! let gateway = GenerationConfig::new("claude-sonnet-5-5")
//!     .protocol(Protocol::Messages)
//!     .base_url("https://gateway.example/anthropic/v1")
//!     .api_key("…");
//! ```
//!
//! # How it works
//!
//! A call runs through these files and folders of the source:
//!
//! 1. `message` and `config` hold the prompt and the options.
//! 2. `request` finds the provider and prepares the headers. `protocol` writes the body.
//! 3. `http` sends the request, and reads the response body as bytes.
//! 4. `sse` splits the bytes into server-sent events (SSE).
//! 5. `protocol` decodes the events into chunks.
//! 6. `decode` calls `sse` and `protocol` for steps 4 and 5, adds each chunk to the response, and
//!    decides at the end whether the answer is whole.
//! 7. `exchange` retries failed requests. With `turns`, it runs tools and sends the next request.
//! 8. `stream` passes each chunk to the callback and to your loop.
//!
//! # Logging
//!
//! The crate logs through the crate `log`: retries at info; requests and adaptations at debug. Its
//! own messages never contain a key. But its HTTP client (ureq) logs every byte at trace, keys included:
//! [`guide::logging`] says how to turn that off.
//!
//! # Crate features
//!
//! - `rustls` (default): TLS, which every hosted provider needs. Without it, the crate speaks only
//!   plain HTTP, as local servers do, and an `https` URL is an error that says so.
//! - `schemars`: makes the schemas of answers and tools from types: `ResponseFormat::of`,
//!   `Tool::of` and `Tool::variants_of`.
//! - `platform-verifier`: trusts the certificate authorities (CAs) of the operating system instead
//!   of Mozilla's, which are compiled in.

mod activity;
mod attachment;
mod cancel;
mod chunk;
mod config;
mod decode;
mod elements;
mod endpoint;
mod environment;
mod error;
mod error_kind;
mod exchange;
mod http;
mod json_reader;
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
mod source;
mod sse;
mod stream;
mod terminal;
mod tool;
mod turns;
#[cfg(feature = "schemars")]
mod type_schema;
mod typed;

pub mod guide;

pub use activity::Activity;
pub use attachment::Attachment;
pub use cancel::CancelHandle;
pub use chunk::{ChunkExtras, FinishReason, StreamChunk, TokenLogprob, ToolCallDelta, Usage};
pub use config::{GenerationConfig, Proxy, Reasoning, ResponseFormat};
pub use elements::Elements;
pub use environment::Environment;
pub use error::{Error, ErrorKind};
pub use message::{Message, MessageRole, Prompt, ToolCall};
pub use model::ModelName;
pub use protocol::Adaptation;
pub use provider::{LlmProvider, Protocol};
pub use request::RequestPreview;
pub use response::GenerationResponse;
pub use source::{Citation, Source};
pub use stream::GenerationStream;
pub use terminal::{TerminalSafe, terminal_safe};
pub use tool::{Tool, ToolChoice};

/// Returns a stream that yields the chunks of the model's answer as the model writes them.
///
/// `prompt` is text, a [`Message`], or a collection of messages. `config` is a [`ModelName`], any
/// model's name (`"mistral-small-latest"`, `"ollama::llama3.2"`), or a [`GenerationConfig`].
///
/// This function cannot fail, and nothing is sent before the first `next`. Every error is an item
/// of the stream, and the last one.
///
/// ```no_run
/// use std::io::{Write, stdout};
///
/// use kerb_stream::generate_stream;
///
/// let mut full_content = String::new();
/// for chunk in generate_stream("Why is the sky blue?", "mistral-small-latest") {
///     let chunk = chunk?;
///     print!("{}", chunk.content);
///     stdout().flush()?;
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

/// Returns the model's whole answer. It reads the same stream to its end. If a pause of Anthropic has
/// split the answer into several responses, this is the last one; a stream has all of them in
/// [`responses`](GenerationStream::responses).
///
/// ```no_run
/// let response = kerb_stream::generate("Why is the sky blue?", "mistral-small-latest")?;
/// println!("{}", response.content);
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// Returns the [`Error`] that ended the stream. [`Error::partial`] has the part that had arrived.
pub fn generate(
    prompt: impl Into<Prompt>,
    config: impl Into<GenerationConfig>,
) -> anyhow::Result<GenerationResponse> {
    generate_stream(prompt, config).into_response()
}

/// Compiles the programs in the README as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests;
