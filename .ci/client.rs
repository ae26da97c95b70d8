//! Uses this crate as a program would, for `../shared/bench`. `mod common` is the `common.rs` of
//! that folder.

use kerb_stream::{GenerationConfig, LlmProvider, Message, generate_stream};

mod common;

/// A fake key that is as long as real ones.
const KEY: &str = "sk-proj-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789\
                   -0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-0123456789_abcdefghi";

struct Client;

impl common::Client for Client {
    fn stream(&mut self, base: &str, sink: common::Sink<'_>) {
        let messages = vec![
            Message::system("You are a helpful assistant."),
            Message::user("Tell me a story."),
        ];
        let config = GenerationConfig::new("gpt-4o-mini")
            .provider(LlmProvider::Local)
            .base_url(base)
            .api_key(KEY);
        for chunk in generate_stream(messages, config) {
            let chunk = chunk.unwrap();
            if !chunk.content.is_empty() && !sink(&chunk.content) {
                break;
            }
        }
    }
}

fn main() {
    common::run(Client);
}
