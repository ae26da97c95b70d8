//! Runs tools for the model: the model calls tools, and this program runs them and sends the
//! results back, until the model answers with text.
//!
//! ```text
//! cargo run --example tools -- ollama::llama3.2
//! ```
//!
//! A copy of this file also needs `cargo add serde_json`.

use std::env;
use std::io::{Write, stderr, stdout};

use anyhow::{Context as _, bail};
use kerb_stream::{
    GenerationConfig, GenerationResponse, Message, Tool, ToolCall, generate_stream, terminal_safe,
};
use serde_json::{Value, json};

/// A limit on the rounds, because some models repeat the same tool calls without end.
const MAX_ROUNDS: usize = 8;

fn main() -> anyhow::Result<()> {
    let model = env::args().nth(1).unwrap_or_else(|| "gemini-flash-latest".to_owned());
    let config = GenerationConfig::new(model).tools(tools());

    let mut history = vec![Message::user("How heavy are 3 cubic metres of Oak?")];
    for _ in 0..MAX_ROUNDS {
        let response = answer(&history, &config)?;
        if response.tool_calls.is_empty() {
            return Ok(());
        }
        history.push(Message::from(&response));
        for call in &response.tool_calls {
            let shown = format!("{}({})", call.name, call.arguments);
            write!(stderr(), "{} = ", terminal_safe(&shown))?;
            let result = match call_tool(call) {
                Ok(result) => Message::tool(&call.id, result),
                // The model reads the error and may correct its call.
                Err(error) => Message::tool_error(&call.id, format!("{error:#}")),
            };
            writeln!(stderr(), "{}", terminal_safe(&result.content))?;
            history.push(result);
        }
    }
    bail!("no answer after {MAX_ROUNDS} rounds of tools")
}

/// Prints the model's text while it arrives, if there is any, and returns the response.
fn answer(history: &[Message], config: &GenerationConfig) -> anyhow::Result<GenerationResponse> {
    let mut out = stdout();
    let mut stream = generate_stream(history, config);
    for chunk in &mut stream {
        let Ok(chunk) = chunk else { break }; // `into_response` returns the error.
        write!(out, "{}", terminal_safe(&chunk.content))?;
        out.flush()?;
    }
    if !stream.response().content.is_empty() {
        writeln!(out)?;
    }
    stream.into_response()
}

fn tools() -> [Tool; 2] {
    let materials: Vec<_> = DENSITIES.iter().map(|(material, _)| material).collect();
    [
        Tool::function(
            "density",
            format!("The density in kg/m³ of one of these: {materials:?}."),
            json!({
                "type": "object",
                "properties": {"material": {"type": "string"}},
                "required": ["material"],
            }),
        ),
        Tool::function(
            "calculate",
            "Two numbers added, subtracted, multiplied or divided.",
            json!({
                "type": "object",
                "properties": {
                    "left": {"type": "number"},
                    "operator": {"type": "string", "enum": ["*", "/", "+", "-"]},
                    "right": {"type": "number"},
                },
                "required": ["left", "operator", "right"],
            }),
        ),
    ]
}

const DENSITIES: [(&str, f64); 5] =
    [("gold", 19_300.0), ("granite", 2_700.0), ("oak", 710.0), ("pine", 510.0), ("water", 998.0)];

fn call_tool(call: &ToolCall) -> anyhow::Result<String> {
    let arguments = call.parse::<Value>()?;
    let wrong = |name, kind| format!("the argument {name:?} is missing, or is not a {kind}");
    let text =
        |name| arguments.get(name).and_then(Value::as_str).with_context(|| wrong(name, "string"));
    let number =
        |name| arguments.get(name).and_then(Value::as_f64).with_context(|| wrong(name, "number"));
    let result = match call.name.as_str() {
        "density" => {
            let wanted = text("material")?.to_lowercase();
            let known = DENSITIES.iter().find(|(material, _)| *material == wanted);
            known.context("unknown material")?.1
        }
        "calculate" => {
            let (left, right) = (number("left")?, number("right")?);
            match text("operator")? {
                "*" => left * right,
                "/" => left / right,
                "+" => left + right,
                "-" => left - right,
                other => bail!("there is no operator {other:?}"),
            }
        }
        other => bail!("there is no tool {other:?}"),
    };
    Ok(result.to_string())
}
