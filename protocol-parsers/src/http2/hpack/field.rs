//! The header fields that are of interest, by name.

/// A field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http2) enum Field {
    Authority,
    ConnectVersion,
    ContentType,
    Forwarded,
    GrpcStatus,
    GrpcTimeout,
    Host,
    Method,
    /// One that nobody asks for.
    Other,
    Path,
    Scheme,
    Status,
    Te,
    Traceparent,
    Tracestate,
    /// Its name is not known.
    Unknown,
    UserAgent,
    XForwardedFor,
}

impl Field {
    /// All, each at the place of its number.
    pub(super) const ALL: [Self; 18] = [
        Self::Authority,
        Self::ConnectVersion,
        Self::ContentType,
        Self::Forwarded,
        Self::GrpcStatus,
        Self::GrpcTimeout,
        Self::Host,
        Self::Method,
        Self::Other,
        Self::Path,
        Self::Scheme,
        Self::Status,
        Self::Te,
        Self::Traceparent,
        Self::Tracestate,
        Self::Unknown,
        Self::UserAgent,
        Self::XForwardedFor,
    ];

    /// Of a name, which HTTP/2 wants in lower case (RFC 9113 section 8.2.1).
    pub(super) fn named(name: &[u8]) -> Self {
        match name {
            b"te" => Self::Te,
            b"host" => Self::Host,
            b":path" => Self::Path,
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":status" => Self::Status,
            b"forwarded" => Self::Forwarded,
            b":authority" => Self::Authority,
            b"tracestate" => Self::Tracestate,
            b"user-agent" => Self::UserAgent,
            b"grpc-status" => Self::GrpcStatus,
            b"traceparent" => Self::Traceparent,
            b"content-type" => Self::ContentType,
            b"grpc-timeout" => Self::GrpcTimeout,
            b"x-forwarded-for" => Self::XForwardedFor,
            b"connect-protocol-version" => Self::ConnectVersion,
            _ => Self::Other,
        }
    }

    /// Whether its value is.
    pub(super) fn is_kept(self) -> bool {
        !matches!(self, Self::Other | Self::Unknown)
    }
}
