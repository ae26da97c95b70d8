//! Reads the log probabilities of tokens, in the form of each provider.

use super::builder::ChunkBuilder;
use super::wire::{Raw, wire};
use crate::chunk::TokenLogprob;

wire! {
    struct Lists {
        reasoning_content, content, refusal,
        /// Together and Gemini have the tokens and their alternatives in separate lists.
        tokens, token_logprobs, top_logprobs,
        chosen = "chosenCandidates", top = "topCandidates",
    }
    /// A token. Gemini has other names than the rest.
    struct Token { token, logprob, log = "logProbability", top_logprobs, candidates }
}

/// Reads a list of tokens, or an object that has such lists.
pub(super) fn read(told: Raw<'_>, out: &mut ChunkBuilder) {
    if told.json().starts_with('[') {
        for token in told.elements::<Token<'_>>() {
            read_token(&token, token.top_logprobs, out);
        }
        return;
    }
    let told: Lists<'_> = told.parse();
    let logprobs = told.tokens.elements().zip(told.token_logprobs.elements());
    let of_together = logprobs.map(|(token, logprob)| Token { token, logprob, ..Token::default() });
    let tokens = of_together.chain(told.chosen.elements());
    let of_gemini = told.top.elements().map(|others: Token<'_>| others.candidates);
    let others = told.top_logprobs.elements().chain(of_gemini);
    let tokens = tokens.zip(others.chain(std::iter::repeat(Raw::default())));
    for list in [told.reasoning_content, told.content, told.refusal] {
        if list.has_elements() {
            read(list, out);
        }
    }
    for (token, others) in tokens {
        read_token(&token, others, out);
    }
}

fn read_token(told: &Token<'_>, others: Raw<'_>, out: &mut ChunkBuilder) {
    let token = |told: &Token<'_>| told.token.str().unwrap_or_default().into_owned();
    let logprob = |told: &Token<'_>| told.logprob.or(told.log).f64();
    let other = |other: Token<'_>| Some((token(&other), logprob(&other)?));
    let others = others.elements().filter_map(other);
    let others =
        others.take_while(|(token, _)| out.has_room(size_of::<(String, f64)>() + 16 + token.len()));
    let alternatives = others.collect();
    let Some(logprob) = logprob(told) else { return };
    out.logprob(TokenLogprob { token: token(told), logprob, alternatives });
}
