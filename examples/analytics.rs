//! Measures a stream with a callback: how many chunks came, how long they are, and how far apart.

#![allow(clippy::print_stderr, clippy::print_stdout, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use kerb_stream::generate_stream;

fn main() -> anyhow::Result<()> {
    let (start, mut arrivals, mut letters) = (Instant::now(), Vec::new(), 0);
    let stream =
        generate_stream("Name three benefits of streaming.", "gpt-4o-mini").callback(|chunk| {
            arrivals.push(start.elapsed());
            letters += chunk.content.chars().count();
        });
    let response = stream.into_response()?;
    println!("{}", response.content);

    let gaps: Vec<Duration> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = gaps.iter().sum::<Duration>() / gaps.len().max(1) as u32;
    eprintln!(
        "{} chunks, {letters} characters, mean gap {mean:.1?}, {:?}",
        arrivals.len(),
        response.finish_reason
    );
    Ok(())
}
