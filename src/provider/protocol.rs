//! The names of the wire protocols: [`Protocol`].

use crate::names::names;

names! {
    /// A wire protocol: the format of a request and of its response.
    ///
    /// Each provider has a default protocol. At OpenAI's hosts the model decides. Set
    /// [`GenerationConfig::protocol`](crate::GenerationConfig::protocol) for a server that speaks
    /// several protocols, such as OpenAI's or llama.cpp's.
    #[non_exhaustive]
    pub enum Protocol {
        /// [OpenAI Chat Completions](https://platform.openai.com/docs/api-reference/chat): OpenAI,
        /// Mistral, and nearly every server that people run themselves.
        ChatCompletions = "chat_completions",
        /// [OpenAI Responses](https://platform.openai.com/docs/api-reference/responses): OpenAI,
        /// and servers that follow it, such as llama.cpp, LM Studio and xAI. Requests ask the
        /// server not to store anything. What the model needs of its own earlier answers is kept in
        /// the [`Message`](crate::Message) and sent back with it.
        Responses = "responses",
        /// [Anthropic Messages](https://platform.claude.com/docs/en/api/messages): Anthropic, and
        /// also llama.cpp, vLLM and OpenRouter.
        Messages = "messages",
        /// [Google Gemini's `generateContent`](https://ai.google.dev/api/generate-content).
        GenerateContent = "generate_content",
        /// [Cohere's Chat API](https://docs.cohere.com/reference/chat-stream), version 2.
        CohereChat = "cohere_chat",
    }

    /// Returns the protocol's name in snake case. It is serialised by the same name.
    pub fn as_str;
    read as "protocol";
}
