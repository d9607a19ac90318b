//! Requests, encoded once and shared by all models that they go to.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use protocol::commons::{Argument, Variant, VariantType};
use protocol::dynamic_subclass::{CallRequest, SetupRequest};
use protocol::{CALL_PATH, SETUP_PATH, Value};

use crate::health::SETUP;

/// A method call, ready to be sent to any number of models; cloning it copies no bytes.
#[derive(Debug, Clone)]
pub struct EncodedCall(pub(crate) Request);

impl EncodedCall {
    /// A call of `method` with `arguments` in their order.
    pub fn new(method: &'static str, arguments: &[Value]) -> Self {
        let arguments = (1..).zip(arguments).map(|(position, value)| value.to_argument(position));
        Self::of(method, arguments.collect())
    }

    /// A call of `method` with one argument, which is JSON text already.
    pub fn with_json(method: &'static str, json: Bytes) -> Self {
        let variant = Variant { r#type: VariantType::Json.into(), value: json };
        Self::of(method, vec![Argument { position: 1, data: Some(variant) }])
    }

    /// The method that is called.
    pub fn method(&self) -> &'static str {
        self.0.method
    }

    /// The size of the message on the wire, in bytes.
    pub fn size(&self) -> usize {
        self.0.framed.len() - FRAME_HEADER_BYTES
    }

    fn of(method: &'static str, arguments: Vec<Argument>) -> Self {
        let message = CallRequest {
            method_name: method.to_owned(),
            method_arguments: arguments,
            method_kw_arguments: Vec::new(),
        };
        EncodedCall(Request { method, path: CALL_PATH, framed: framed(&message) })
    }
}

/// A `Setup`, ready to be sent to any number of models.
#[derive(Debug, Clone)]
pub struct EncodedSetup(pub(crate) Request);

impl EncodedSetup {
    /// Asks for the one instance of the submission's subclass of `class_name`, made without arguments.
    pub fn new(class_name: &str) -> Self {
        let message = SetupRequest { class_name: class_name.to_owned(), ..SetupRequest::default() };
        EncodedSetup(Request { method: SETUP, path: SETUP_PATH, framed: framed(&message) })
    }
}

/// Flag and length before each gRPC message.
pub(crate) const FRAME_HEADER_BYTES: usize = 5;

/// A request as it goes out.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// For people.
    pub method: &'static str,
    pub path: &'static str,
    /// The gRPC message with its frame header.
    pub framed: Bytes,
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(FRAME_HEADER_BYTES + length);
    framed.put_u8(0);
    framed.put_u32(length as u32);
    // fails only in a buffer that cannot grow
    let _ = message.encode(&mut framed);
    framed.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_framed_message_with_positions_from_one() {
        let call = EncodedCall::new("predict", &[Value::String("BTC".into()), Value::Int(60)]);
        assert_eq!(call.0.framed[0], 0);
        assert_eq!(call.0.framed[1..5], (call.size() as u32).to_be_bytes());
        let message = CallRequest::decode(call.0.framed.slice(FRAME_HEADER_BYTES..)).unwrap();
        assert_eq!(message.method_name, "predict");
        let positions: Vec<u32> = message.method_arguments.iter().map(|a| a.position).collect();
        assert_eq!(positions, [1, 2]);
    }

    #[test]
    fn ready_json_is_the_same_call_as_a_json_value() {
        let ready = EncodedCall::with_json("tick", Bytes::from_static(b"{}"));
        assert_eq!(ready.0.framed, EncodedCall::new("tick", &[Value::Json("{}".into())]).0.framed);
    }

    #[test]
    fn models_share_the_bytes_of_a_call() {
        let call = EncodedCall::new("tick", &[Value::Json("{}".into())]);
        assert_eq!(call.clone().0.framed.as_ptr(), call.0.framed.as_ptr());
    }
}
