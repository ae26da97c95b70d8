//! Stream answers from language models through a plain, blocking iterator.

mod chunk;
mod config;
mod environment;
mod error;
mod message;
mod model;
mod provider;
mod response;
mod sse;
mod terminal;

pub use chunk::{FinishReason, StreamChunk, ToolCallDelta, Usage};
pub use config::{GenerationConfig, Proxy, Reasoning, ResponseFormat, Tool, ToolChoice};
pub use environment::Environment;
pub use error::{ApiError, Error, ErrorKind, Failure};
pub use message::{Image, Message, MessageRole, Prompt, ToolCall};
pub use model::ModelName;
pub use provider::{LlmProvider, Protocol};
pub use response::GenerationResponse;
pub use terminal::{TerminalSafe, terminal_safe};
