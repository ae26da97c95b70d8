//! A loop of model and tools: the model asks for a tool, the program runs it and tells the result,
//! until the model has its answer.

mod common;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use kerb_stream::{
    GenerationConfig, GenerationResponse, Message, Tool, ToolCall, generate_stream, terminal_safe,
};
use serde_json::{Value, json};

/// A model that has not found its answer by then is going round in circles.
const MAX_ROUNDS: usize = 8;

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> anyhow::Result<()> {
    let arguments = common::Arguments::read(None)?;
    let question = arguments.prompt("How heavy are 3 cubic metres of Oak?");
    let model = arguments.model()?.tools(tools());

    let mut conversation = vec![Message::user(question)];
    for _ in 0..MAX_ROUNDS {
        let response = answer(&conversation, &model)?;
        if response.tool_calls.is_empty() {
            return Ok(());
        }
        conversation.push(Message::from(&response));
        for call in &response.tool_calls {
            let shown = format!("{}({})", call.name, call.arguments);
            write!(io::stderr(), "{} = ", terminal_safe(&shown))?;
            let told = match call_tool(call) {
                Ok(result) => Message::tool(&call.id, result),
                // The model learns from an error, too: it may ask again.
                Err(error) => Message::tool_error(&call.id, format!("{error:#}")),
            };
            writeln!(io::stderr(), "{}", terminal_safe(&told.content))?;
            conversation.push(told);
        }
    }
    bail!("no answer after {MAX_ROUNDS} rounds of tools")
}

/// Prints what the model says, if it says anything.
fn answer(
    conversation: &[Message],
    model: &GenerationConfig,
) -> anyhow::Result<GenerationResponse> {
    let mut out = common::stdout();
    let mut stream = generate_stream(conversation, model);
    for chunk in &mut stream {
        write!(out, "{}", terminal_safe(&chunk?.content))?;
        out.flush()?;
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
    let text = |name| arguments.get(name).and_then(Value::as_str).context(name);
    let number = |name| arguments.get(name).and_then(Value::as_f64).context(name);
    let result = match call.name.as_str() {
        "density" => {
            let wanted = text("material")?.to_lowercase();
            let known = DENSITIES.iter().find(|(material, _)| *material == wanted);
            known.context("nothing is known of this material")?.1
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
