//! Runs the table of faults against a server by other authors: the fault server in the folder that
//! `KERB_STREAM_SHARED` names. It speaks three of the protocols.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use kerb_stream::{ErrorKind, Protocol, Proxy};
use serde_json::Value;

use super::{Fault, acts, parts, play_all};
use crate::support::python::PythonServer;

/// The cases in which the fault server differs from the table: the fault, the protocol (empty for
/// all), and the difference.
const OTHERWISE: &[(&str, &str, Otherwise)] = &[
    // Its error is a `server_error`, which is retried.
    ("F32", "chat_completions", Otherwise::Kind(ErrorKind::Server, 3)),
    ("F32", "messages", Otherwise::Kind(ErrorKind::Server, 3)),
    ("F73", "chat_completions", Otherwise::Kind(ErrorKind::Server, 1)),
    ("F73", "messages", Otherwise::Kind(ErrorKind::Overloaded, 1)),
    // Its error type is about billing, whatever the status, in protocols whose errors have a type.
    ("F104", "chat_completions", Otherwise::Kind(ErrorKind::Quota, 1)),
    ("F104", "messages", Otherwise::Kind(ErrorKind::Quota, 1)),
    // Its Gemini errors are all `INVALID_ARGUMENT`, which takes precedence over the status.
    ("F94", "generate_content", Otherwise::Kind(ErrorKind::InvalidRequest, 1)),
    ("F99", "generate_content", Otherwise::Kind(ErrorKind::InvalidRequest, 1)),
    // Its tool call has no name.
    ("F144", "chat_completions", Otherwise::Kind(ErrorKind::Incomplete, 1)),
    // It closes the connection before it reads the second request.
    ("F60", "", Otherwise::Requests(2)),
    // An event in the same packet as a framing error is lost, and the request is then retried.
    ("F47", "", Otherwise::OnlyKind),
    ("F48", "", Otherwise::OnlyKind),
    ("F53", "", Otherwise::OnlyKind),
    // Gemini has no end marker, so the client waits for more after the finish reason.
    ("F74", "generate_content", Otherwise::Takes(12)),
    // It sends the stray second response separately. That may arrive after the next request, and
    // then looks like the response to it.
    ("F61", "", Otherwise::Not),
    // It puts text into each of its hundred thousand events.
    ("F116", "", Otherwise::Not),
];

#[derive(Debug, Clone, Copy)]
enum Otherwise {
    Kind(ErrorKind, usize),
    Requests(usize),
    OnlyKind,
    /// The test may take at most this many seconds.
    Takes(u64),
    Not,
}

impl Otherwise {
    fn of(fault: &Fault, protocol: Protocol) -> Option<Self> {
        let fits = |(id, on, _): &&(&str, &str, Self)| {
            *id == fault.id && (on.is_empty() || *on == protocol.as_str())
        };
        OTHERWISE.iter().find(fits).map(|(_, _, otherwise)| *otherwise)
    }
}

#[test]
#[ignore = "needs python3, openssl and $KERB_STREAM_SHARED/faults"]
fn every_fault_is_what_the_table_says() {
    for (id, on, _) in OTHERWISE {
        let faults = parts().into_iter().flat_map(|(_, faults)| faults);
        let is_known = |fault: Fault| {
            fault.id == *id && fault.protocols.iter().any(|p| on.is_empty() || p.as_str() == *on)
        };
        assert!(faults.into_iter().any(is_known), "nothing is otherwise with {id} {on}");
    }
    let acts = acts().into_iter().filter(|(fault, protocol)| {
        // Faults that a server cannot cause, and variants that this server does not have, are
        // skipped.
        let is_a_servers = (fault.id < "F150" || fault.id.len() < 4) && fault.id != "F02";
        let has_one = matches!(fault.id, "F15" | "F49" | "F50" | "F61" | "F71" | "F128" | "F148");
        let is_had = !has_one || !fault.variant.starts_with("v=");
        is_a_servers
            && is_had
            && !matches!(protocol, Protocol::Responses | Protocol::CohereChat)
            && !matches!(Otherwise::of(fault, *protocol), Some(Otherwise::Not))
    });
    let server = PythonServer::start(
        "faults/faultserver.py",
        &["--port", "0", "--tls", "--tls-dir", "certificates"],
    );
    let ports = Ports {
        ports: serde_json::from_str(&server.line).unwrap(),
        certificates: server.folder().join("certificates"),
    };
    play_all(acts.collect(), 24, Duration::from_secs(60), move |fault, protocol, number| {
        ports.play(fault, protocol, number)
    });
}

/// The ports of the fault server, by purpose, and the folder of its certificates.
struct Ports {
    ports: Value,
    certificates: PathBuf,
}

impl Ports {
    fn port(&self, name: &str) -> u64 {
        self.ports[name].as_u64().unwrap_or_else(|| panic!("there is no port {name}"))
    }

    fn play(&self, mut fault: Fault, protocol: Protocol, number: usize) -> Vec<String> {
        // A unique path, for the server's counters and its log.
        let comma = if fault.variant.is_empty() { "" } else { "," };
        let path = format!("/f/{}{comma}{},k=case{number}", fault.id, fault.variant);
        let (port, scheme) = match fault.id {
            "F01" => ("refused", "http"),
            "F03" => ("blackhole", "http"),
            "F06" => ("accept_hang", "http"),
            "F08" => ("tls_selfsigned", "https"),
            "F09" => ("tls_expired", "https"),
            "F10" => ("tls_wronghost", "https"),
            "F11" => ("tls_plain", "https"),
            "F12" => ("tls_stall", "https"),
            "F13" | "F43" => ("tls_good", "https"),
            _ => ("main", "http"),
        };
        let proxy = match (fault.id, fault.variant) {
            ("F15", "status=407") => Some("proxy_407"),
            ("F15", _) => Some("proxy_403"),
            ("F16", "v=hang") => Some("proxy_hang"),
            ("F16", _) => Some("proxy_close"),
            _ => None,
        };
        let mut config =
            fault.config(protocol, format!("{scheme}://127.0.0.1:{}{path}/v1", self.port(port)));
        if scheme == "https" {
            config = config.ca_file(self.certificates.join("ca.pem"));
        }
        if let Some(proxy) = proxy {
            let url = format!("http://127.0.0.1:{}", self.port(proxy));
            config = config.base_url("https://192.0.2.1/v1").proxy(Proxy::Url(url));
        }
        if !matches!(fault.id, "F60" | "F61") {
            // A connection that an earlier fault left open would count as one more.
            config = config.header("connection", "close");
        }
        let mut seen = fault.ask(&config, || ());

        let mut requests = match (port, proxy) {
            ("main", None) => self.requests(&format!("k=case{number}/")),
            _ => fault.requests,
        };
        match Otherwise::of(&fault, protocol) {
            Some(Otherwise::Kind(kind, number)) => {
                fault.error = Some((kind, ""));
                fault.requests = number;
            }
            Some(Otherwise::Requests(number)) => fault.requests = number,
            Some(Otherwise::Takes(seconds)) => fault.at_most = Duration::from_secs(seconds),
            Some(Otherwise::OnlyKind) => {
                requests = fault.requests;
                let is_part = fault.text.starts_with(&seen.text());
                fault.text = if is_part { "" } else { fault.text };
                seen.chunks.clear();
            }
            Some(Otherwise::Not) | None => {}
        }
        // Its error messages differ from ours, so only the kind is compared.
        fault.error = fault.error.map(|(kind, _)| (kind, ""));
        fault.differences(&seen, requests)
    }

    /// Returns the number of requests whose path contains this part.
    fn requests(&self, part: &str) -> usize {
        let stream = TcpStream::connect(("127.0.0.1", self.port("main") as u16)).unwrap();
        (&stream).write_all(b"GET /_/log HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = BufReader::new(&stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            answer.read_line(&mut line).unwrap();
            match line.trim_end().to_ascii_lowercase().strip_prefix("content-length: ") {
                Some(text) => length = text.parse().unwrap(),
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        let mut log = vec![0; length];
        answer.read_exact(&mut log).unwrap();
        let log = String::from_utf8_lossy(&log);
        let paths = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        paths.filter(|entry| entry["path"].as_str().is_some_and(|path| path.contains(part))).count()
    }
}
