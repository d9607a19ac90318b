//! How a fake model answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::{Value, status};

/// What a fake model does with one call.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers with a value.
    Value(Value),
    /// Answers with a status of the protocol and no value, such as `MODEL_FAILED`.
    Status {
        /// One of [`protocol::status`].
        code: &'static str,
        /// In words.
        message: String,
    },
    /// Answers with a gRPC status.
    Grpc(tonic::Status),
    /// Answers with these bytes in place of a protobuf message.
    Raw(Bytes),
    /// Answers with so many bytes of JSON.
    Huge(usize),
    /// Hangs until [`release`](crate::FakeModel::release) is called, and then does this.
    Held(Box<Reply>),
    /// Does this after a while.
    After(Duration, Box<Reply>),
    /// Does this, and the answer goes over the wire in a bad way.
    Sent(Delivery, Box<Reply>),
}

/// Bad ways for an answer to go over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// A byte, a pause, a byte, a pause, …
    Drip(Duration),
    /// All of it, and the stream is never ended.
    Unended,
    /// All of it, again and again for ever.
    Endless,
    /// The head, and then the stream is reset.
    Reset,
}

type Answerer = dyn Fn(&str, &[Value]) -> Reply + Send + Sync;

/// How a fake model answers calls; [`on_setup`](crate::FakeModel::on_setup) says how it answers a Setup.
#[derive(Clone)]
pub struct Behaviour(Arc<Answerer>);

impl std::fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Behaviour")
    }
}

impl Behaviour {
    /// Answers as `answer` says, from the method and its arguments.
    pub fn new(answer: impl Fn(&str, &[Value]) -> Reply + Send + Sync + 'static) -> Self {
        Behaviour(Arc::new(answer))
    }

    /// Answers every call but a tick with this JSON text, and a tick with nothing.
    pub fn answer(json: impl Into<String>) -> Self {
        let json = json.into();
        Self::always(Reply::Value(Value::Json(json))).except_on_ticks()
    }

    /// Hangs, also in ticks.
    pub fn never_answer() -> Self {
        Self::always(Reply::Held(Box::new(Reply::Value(Value::None))))
    }

    /// Raises, also in ticks.
    pub fn raise(message: impl Into<String>) -> Self {
        Self::always(Reply::Status { code: status::MODEL_FAILED, message: message.into() })
    }

    /// Answers every call but a tick with so many bytes.
    pub fn huge(bytes: usize) -> Self {
        Self::always(Reply::Huge(bytes)).except_on_ticks()
    }

    /// Answers every call but a tick with this JSON text, which goes over the wire in a bad way.
    pub fn answer_badly(delivery: Delivery, json: impl Into<String>) -> Self {
        let answer = Reply::Value(Value::Json(json.into()));
        Self::always(Reply::Sent(delivery, Box::new(answer))).except_on_ticks()
    }

    /// Answers every call but a tick with a list of one density whose scale is Python's bare `NaN`.
    pub fn nan() -> Self {
        Self::answer(r#"[{"type": "builtin", "name": "norm", "params": {"loc": 0.0, "scale": NaN}}]"#)
    }

    /// Answers every call but a tick with this JSON text, after a while.
    pub fn answer_late(after: Duration, json: impl Into<String>) -> Self {
        let answer = Reply::Value(Value::Json(json.into()));
        Self::always(Reply::After(after, Box::new(answer))).except_on_ticks()
    }

    /// Answers every call but a tick with bytes that are no protobuf.
    pub fn garbage() -> Self {
        Self::always(Reply::Raw(Bytes::from_static(b"\xff\xff\xff\xffgarbage"))).except_on_ticks()
    }

    /// Answers every call but a tick with a STRING where JSON is wanted.
    pub fn text(text: impl Into<String>) -> Self {
        Self::always(Reply::Value(Value::String(text.into()))).except_on_ticks()
    }

    /// Behaves so on calls of `method`, and answers every other call with nothing.
    pub fn only_on(self, method: &'static str) -> Self {
        Self::new(
            move |called, arguments| {
                if called == method { self.reply(called, arguments) } else { nothing() }
            },
        )
    }

    /// What it does with a call.
    pub fn reply(&self, method: &str, arguments: &[Value]) -> Reply {
        (self.0)(method, arguments)
    }

    fn always(reply: Reply) -> Self {
        Self::new(move |_, _| reply.clone())
    }

    fn except_on_ticks(self) -> Self {
        Self::new(
            move |method, arguments| {
                if method == protocol::method::TICK { nothing() } else { self.reply(method, arguments) }
            },
        )
    }
}

fn nothing() -> Reply {
    Reply::Value(Value::None)
}
