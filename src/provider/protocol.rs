//! The wire protocols by name: [`Protocol`].

use crate::names::names;

names! {
    /// The wire protocols: how a request is written and a response is read.
    ///
    /// Each provider has its own; at OpenAI it follows the model. Set
    /// [`GenerationConfig::protocol`](crate::GenerationConfig::protocol) for an endpoint that speaks
    /// several, such as OpenAI's or llama.cpp's.
    #[non_exhaustive]
    pub enum Protocol {
        /// [OpenAI Chat Completions](https://platform.openai.com/docs/api-reference/chat): OpenAI,
        /// Mistral, and nearly every server that people run themselves.
        ChatCompletions = "chat_completions",
        /// [OpenAI Responses](https://platform.openai.com/docs/api-reference/responses): OpenAI,
        /// and servers that follow it, such as llama.cpp, LM Studio and xAI. Asked not to store
        /// anything: what a model has to see again of its own answer travels in the
        /// [`Message`](crate::Message).
        Responses = "responses",
        /// [Anthropic Messages](https://platform.claude.com/docs/en/api/messages): Anthropic;
        /// llama.cpp, vLLM and OpenRouter speak it too.
        Messages = "messages",
        /// [Google Gemini's `generateContent`](https://ai.google.dev/api/generate-content).
        GenerateContent = "generate_content",
        /// [Cohere's Chat API](https://docs.cohere.com/reference/chat-stream), version 2.
        CohereChat = "cohere_chat",
    }

    /// The protocol's name in lower case, as it is also serialised.
    pub fn as_str;
    read as "protocol";
}
