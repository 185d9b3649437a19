//! The commands of Redis 7 (redis.io/docs/latest/commands): which arguments name something (keys, fields, channels) and may be
//! shown, how a command is answered, and what it does to the connection. Whatever is not named here is a value: masked.
//!
//! In: a command's word as sent. Out: its entry.

/// The longest word in the table.
pub(super) const MAX_WORD: usize = 32;

/// Kinds of replies, as a set: what a command may be answered with, errors and `+QUEUED` apart.
pub(super) mod replies {
    /// Simple string.
    pub(in crate::redis) const SIMPLE: u8 = 1;
    /// Integer.
    pub(in crate::redis) const INTEGER: u8 = 2;
    /// Bulk string, or null.
    pub(in crate::redis) const BULK: u8 = 4;
    /// Array, set or map, or null.
    pub(in crate::redis) const ARRAY: u8 = 8;
    /// Any, or of a type that only RESP3 has.
    pub(in crate::redis) const ANY: u8 = 16;
}

/// What else a command means for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// Words follow that belong to the operation: `CLIENT SETNAME`.
    Container,
    /// Turns replies off and on.
    ClientReply,
    Exec,
    Hello,
    Monitor,
    Ping,
    Quit,
    Reset,
    Select,
    Subscribe(Family),
    /// Turns the connection into a replication stream.
    Sync,
    Unsubscribe(Family),
}

/// Which kind of subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Channel,
    Pattern,
    Shard,
}

/// One command.
///
/// Its arguments are described by letters: `head` for the first ones, then `each` over and over; the last `tail` are masked.
/// * `k`: shown (a key, field, channel, sub-command's name)
/// * `v`: masked
/// * `n`: shown, and says how many of the next ones are shown
/// * `p`: shown, and names a stored procedure
/// * `s`: masked, until `STREAMS`: of what follows that, the first half is shown
#[derive(Debug)]
pub(super) struct Command {
    pub(super) word: &'static str,
    pub(super) head: &'static [u8],
    pub(super) each: &'static [u8],
    pub(super) tail: u32,
    pub(super) replies: u8,
    pub(super) effect: Effect,
}

/// A word that is not in the table: all is masked.
pub(super) static UNKNOWN: Command = of("", "", "v", ANY);

use replies::{ANY, ARRAY, BULK, INTEGER, SIMPLE};

const fn of(word: &'static str, head: &'static str, each: &'static str, replies: u8) -> Command {
    Command { word, head: head.as_bytes(), each: each.as_bytes(), tail: 0, replies, effect: Effect::None }
}

/// All its arguments are keys, but for the last.
const fn blocking(word: &'static str) -> Command {
    Command { tail: 1, ..of(word, "", "k", ANY) }
}

const fn with(effect: Effect, command: Command) -> Command {
    Command { effect, ..command }
}

const fn container(word: &'static str) -> Command {
    with(Effect::Container, of(word, "", "v", ANY))
}

static COMMANDS: &[Command] = &[
    // Connection and transactions.
    of("AUTH", "", "v", SIMPLE),
    of("DISCARD", "", "v", SIMPLE),
    of("ECHO", "", "v", BULK),
    with(Effect::Exec, of("EXEC", "", "v", ARRAY | BULK)),
    with(Effect::Hello, of("HELLO", "", "v", ARRAY)),
    of("MULTI", "", "v", SIMPLE),
    with(Effect::Ping, of("PING", "", "v", SIMPLE | BULK | ARRAY)),
    with(Effect::Quit, of("QUIT", "", "v", SIMPLE)),
    with(Effect::Reset, of("RESET", "", "v", SIMPLE)),
    with(Effect::Select, of("SELECT", "k", "v", SIMPLE)),
    of("UNWATCH", "", "v", SIMPLE),
    of("WATCH", "", "k", SIMPLE),
    // Keys of any type.
    of("COPY", "kk", "v", INTEGER),
    of("DEL", "", "k", INTEGER),
    of("DUMP", "k", "v", BULK),
    of("EXISTS", "", "k", INTEGER),
    of("EXPIRE", "k", "v", INTEGER),
    of("EXPIREAT", "k", "v", INTEGER),
    of("EXPIRETIME", "k", "v", INTEGER),
    of("KEYS", "k", "v", ARRAY),
    of("MOVE", "k", "v", INTEGER),
    of("PERSIST", "k", "v", INTEGER),
    of("PEXPIRE", "k", "v", INTEGER),
    of("PEXPIREAT", "k", "v", INTEGER),
    of("PEXPIRETIME", "k", "v", INTEGER),
    of("PTTL", "k", "v", INTEGER),
    of("RANDOMKEY", "", "v", BULK),
    of("RENAME", "kk", "v", SIMPLE),
    of("RENAMENX", "kk", "v", INTEGER),
    of("RESTORE", "k", "v", SIMPLE),
    of("RESTORE-ASKING", "k", "v", SIMPLE),
    of("SCAN", "", "v", ARRAY),
    of("SORT", "k", "v", ARRAY | INTEGER),
    of("SORT_RO", "k", "v", ARRAY),
    of("TOUCH", "", "k", INTEGER),
    of("TTL", "k", "v", INTEGER),
    of("TYPE", "k", "v", SIMPLE),
    of("UNLINK", "", "k", INTEGER),
    // Strings, bits, HyperLogLog.
    of("APPEND", "k", "v", INTEGER),
    of("BITCOUNT", "k", "v", INTEGER),
    of("BITFIELD", "k", "v", ARRAY),
    of("BITFIELD_RO", "k", "v", ARRAY),
    of("BITOP", "v", "k", INTEGER),
    of("BITPOS", "k", "v", INTEGER),
    of("DECR", "k", "v", INTEGER),
    of("DECRBY", "k", "v", INTEGER),
    of("GET", "k", "v", BULK),
    of("GETBIT", "k", "v", INTEGER),
    of("GETDEL", "k", "v", BULK),
    of("GETEX", "k", "v", BULK),
    of("GETRANGE", "k", "v", BULK),
    of("GETSET", "k", "v", BULK),
    of("INCR", "k", "v", INTEGER),
    of("INCRBY", "k", "v", INTEGER),
    of("INCRBYFLOAT", "k", "v", BULK),
    of("LCS", "kk", "v", ANY),
    of("MGET", "", "k", ARRAY),
    of("MSET", "", "kv", SIMPLE),
    of("MSETNX", "", "kv", INTEGER),
    of("PFADD", "k", "v", INTEGER),
    of("PFCOUNT", "", "k", INTEGER),
    of("PFMERGE", "", "k", SIMPLE),
    of("PSETEX", "k", "v", SIMPLE),
    of("SET", "k", "v", SIMPLE | BULK),
    of("SETBIT", "k", "v", INTEGER),
    of("SETEX", "k", "v", SIMPLE),
    of("SETNX", "k", "v", INTEGER),
    of("SETRANGE", "k", "v", INTEGER),
    of("STRLEN", "k", "v", INTEGER),
    of("SUBSTR", "k", "v", BULK),
    // Hashes.
    of("HDEL", "k", "k", INTEGER),
    of("HEXISTS", "kk", "v", INTEGER),
    of("HEXPIRE", "k", "v", ARRAY),
    of("HGET", "kk", "v", BULK),
    of("HGETALL", "k", "v", ARRAY),
    of("HINCRBY", "kk", "v", INTEGER),
    of("HINCRBYFLOAT", "kk", "v", BULK),
    of("HKEYS", "k", "v", ARRAY),
    of("HLEN", "k", "v", INTEGER),
    of("HMGET", "k", "k", ARRAY),
    of("HMSET", "k", "kv", SIMPLE),
    of("HRANDFIELD", "k", "v", ANY),
    of("HSCAN", "k", "v", ARRAY),
    of("HSET", "k", "kv", INTEGER),
    of("HSETNX", "kk", "v", INTEGER),
    of("HSTRLEN", "kk", "v", INTEGER),
    of("HTTL", "k", "v", ARRAY),
    of("HVALS", "k", "v", ARRAY),
    // Lists.
    of("BLMOVE", "kk", "v", BULK | ARRAY),
    of("BLMPOP", "vn", "v", ARRAY | BULK),
    blocking("BLPOP"),
    blocking("BRPOP"),
    of("BRPOPLPUSH", "kk", "v", BULK | ARRAY),
    of("LINDEX", "k", "v", BULK),
    of("LINSERT", "k", "v", INTEGER),
    of("LLEN", "k", "v", INTEGER),
    of("LMOVE", "kk", "v", BULK),
    of("LMPOP", "n", "v", ARRAY | BULK),
    of("LPOP", "k", "v", BULK | ARRAY),
    of("LPOS", "k", "v", ANY),
    of("LPUSH", "k", "v", INTEGER),
    of("LPUSHX", "k", "v", INTEGER),
    of("LRANGE", "k", "v", ARRAY),
    of("LREM", "k", "v", INTEGER),
    of("LSET", "k", "v", SIMPLE),
    of("LTRIM", "k", "v", SIMPLE),
    of("RPOP", "k", "v", BULK | ARRAY),
    of("RPOPLPUSH", "kk", "v", BULK),
    of("RPUSH", "k", "v", INTEGER),
    of("RPUSHX", "k", "v", INTEGER),
    // Sets.
    of("SADD", "k", "v", INTEGER),
    of("SCARD", "k", "v", INTEGER),
    of("SDIFF", "", "k", ARRAY),
    of("SDIFFSTORE", "", "k", INTEGER),
    of("SINTER", "", "k", ARRAY),
    of("SINTERCARD", "n", "v", INTEGER),
    of("SINTERSTORE", "", "k", INTEGER),
    of("SISMEMBER", "k", "v", INTEGER),
    of("SMEMBERS", "k", "v", ARRAY),
    of("SMISMEMBER", "k", "v", ARRAY),
    of("SMOVE", "kk", "v", INTEGER),
    of("SPOP", "k", "v", BULK | ARRAY),
    of("SRANDMEMBER", "k", "v", BULK | ARRAY),
    of("SREM", "k", "v", INTEGER),
    of("SSCAN", "k", "v", ARRAY),
    of("SUNION", "", "k", ARRAY),
    of("SUNIONSTORE", "", "k", INTEGER),
    // Sorted sets, places.
    of("BZMPOP", "vn", "v", ARRAY | BULK),
    blocking("BZPOPMAX"),
    blocking("BZPOPMIN"),
    of("GEOADD", "k", "v", INTEGER),
    of("GEODIST", "k", "v", ANY),
    of("GEOHASH", "k", "v", ARRAY),
    of("GEOPOS", "k", "v", ARRAY),
    of("GEORADIUS", "k", "v", ANY),
    of("GEORADIUSBYMEMBER", "k", "v", ANY),
    of("GEORADIUSBYMEMBER_RO", "k", "v", ARRAY),
    of("GEORADIUS_RO", "k", "v", ARRAY),
    of("GEOSEARCH", "k", "v", ARRAY),
    of("GEOSEARCHSTORE", "kk", "v", INTEGER),
    of("ZADD", "k", "v", ANY),
    of("ZCARD", "k", "v", INTEGER),
    of("ZCOUNT", "k", "v", INTEGER),
    of("ZDIFF", "n", "v", ARRAY),
    of("ZDIFFSTORE", "kn", "v", INTEGER),
    of("ZINCRBY", "k", "v", ANY),
    of("ZINTER", "n", "v", ARRAY),
    of("ZINTERCARD", "n", "v", INTEGER),
    of("ZINTERSTORE", "kn", "v", INTEGER),
    of("ZLEXCOUNT", "k", "v", INTEGER),
    of("ZMPOP", "n", "v", ARRAY | BULK),
    of("ZMSCORE", "k", "v", ARRAY),
    of("ZPOPMAX", "k", "v", ARRAY),
    of("ZPOPMIN", "k", "v", ARRAY),
    of("ZRANDMEMBER", "k", "v", ANY),
    of("ZRANGE", "k", "v", ARRAY),
    of("ZRANGEBYLEX", "k", "v", ARRAY),
    of("ZRANGEBYSCORE", "k", "v", ARRAY),
    of("ZRANGESTORE", "kk", "v", INTEGER),
    of("ZRANK", "k", "v", ANY),
    of("ZREM", "k", "v", INTEGER),
    of("ZREMRANGEBYLEX", "k", "v", INTEGER),
    of("ZREMRANGEBYRANK", "k", "v", INTEGER),
    of("ZREMRANGEBYSCORE", "k", "v", INTEGER),
    of("ZREVRANGE", "k", "v", ARRAY),
    of("ZREVRANGEBYLEX", "k", "v", ARRAY),
    of("ZREVRANGEBYSCORE", "k", "v", ARRAY),
    of("ZREVRANK", "k", "v", ANY),
    of("ZSCAN", "k", "v", ARRAY),
    of("ZSCORE", "k", "v", ANY),
    of("ZUNION", "n", "v", ARRAY),
    of("ZUNIONSTORE", "kn", "v", INTEGER),
    // Streams.
    of("XACK", "kk", "v", INTEGER),
    of("XADD", "k", "v", BULK),
    of("XAUTOCLAIM", "kk", "v", ARRAY),
    of("XCLAIM", "kk", "v", ARRAY),
    of("XDEL", "k", "v", INTEGER),
    container("XGROUP"),
    of("XGROUP CREATE", "kk", "v", ANY),
    of("XGROUP CREATECONSUMER", "kk", "v", ANY),
    of("XGROUP DELCONSUMER", "kk", "v", ANY),
    of("XGROUP DESTROY", "kk", "v", ANY),
    of("XGROUP SETID", "kk", "v", ANY),
    container("XINFO"),
    of("XINFO CONSUMERS", "kk", "v", ANY),
    of("XINFO GROUPS", "k", "v", ANY),
    of("XINFO STREAM", "k", "v", ANY),
    of("XLEN", "k", "v", INTEGER),
    of("XPENDING", "kk", "v", ARRAY),
    of("XRANGE", "k", "v", ARRAY),
    of("XREAD", "", "s", ANY),
    of("XREADGROUP", "", "s", ANY),
    of("XREVRANGE", "k", "v", ARRAY),
    of("XSETID", "k", "v", SIMPLE),
    of("XTRIM", "k", "v", INTEGER),
    // Messages.
    with(Effect::Subscribe(Family::Pattern), of("PSUBSCRIBE", "", "k", ANY)),
    of("PUBLISH", "k", "v", INTEGER),
    container("PUBSUB"),
    of("PUBSUB CHANNELS", "k", "v", ANY),
    of("PUBSUB NUMPAT", "", "v", ANY),
    of("PUBSUB NUMSUB", "", "k", ANY),
    of("PUBSUB SHARDCHANNELS", "k", "v", ANY),
    of("PUBSUB SHARDNUMSUB", "", "k", ANY),
    with(Effect::Unsubscribe(Family::Pattern), of("PUNSUBSCRIBE", "", "k", ANY)),
    of("SPUBLISH", "k", "v", INTEGER),
    with(Effect::Subscribe(Family::Shard), of("SSUBSCRIBE", "", "k", ANY)),
    with(Effect::Subscribe(Family::Channel), of("SUBSCRIBE", "", "k", ANY)),
    with(Effect::Unsubscribe(Family::Shard), of("SUNSUBSCRIBE", "", "k", ANY)),
    with(Effect::Unsubscribe(Family::Channel), of("UNSUBSCRIBE", "", "k", ANY)),
    // Scripts. Their text may hold values.
    of("EVAL", "vn", "v", ANY),
    of("EVALSHA", "pn", "v", ANY),
    of("EVALSHA_RO", "pn", "v", ANY),
    of("EVAL_RO", "vn", "v", ANY),
    of("FCALL", "pn", "v", ANY),
    of("FCALL_RO", "pn", "v", ANY),
    container("FUNCTION"),
    of("FUNCTION DELETE", "", "v", ANY),
    of("FUNCTION DUMP", "", "v", ANY),
    of("FUNCTION FLUSH", "", "v", ANY),
    of("FUNCTION KILL", "", "v", ANY),
    of("FUNCTION LIST", "", "v", ANY),
    of("FUNCTION LOAD", "", "v", ANY),
    of("FUNCTION RESTORE", "", "v", ANY),
    of("FUNCTION STATS", "", "v", ANY),
    container("SCRIPT"),
    of("SCRIPT DEBUG", "", "v", ANY),
    of("SCRIPT EXISTS", "", "v", ANY),
    of("SCRIPT FLUSH", "", "v", ANY),
    of("SCRIPT KILL", "", "v", ANY),
    of("SCRIPT LOAD", "", "v", ANY),
    // The server.
    container("ACL"),
    of("ACL CAT", "", "v", ANY),
    of("ACL DELUSER", "", "v", ANY),
    of("ACL DRYRUN", "", "v", ANY),
    of("ACL GENPASS", "", "v", ANY),
    of("ACL GETUSER", "", "v", ANY),
    of("ACL LIST", "", "v", ANY),
    of("ACL LOAD", "", "v", ANY),
    of("ACL LOG", "", "v", ANY),
    of("ACL SAVE", "", "v", ANY),
    of("ACL SETUSER", "", "v", ANY),
    of("ACL USERS", "", "v", ANY),
    of("ACL WHOAMI", "", "v", ANY),
    of("ASKING", "", "v", SIMPLE),
    of("BGREWRITEAOF", "", "v", SIMPLE),
    of("BGSAVE", "", "v", SIMPLE),
    container("CLIENT"),
    of("CLIENT CACHING", "", "v", ANY),
    of("CLIENT GETNAME", "", "v", ANY),
    of("CLIENT GETREDIR", "", "v", ANY),
    of("CLIENT ID", "", "v", ANY),
    of("CLIENT INFO", "", "v", ANY),
    of("CLIENT KILL", "", "v", ANY),
    of("CLIENT LIST", "", "v", ANY),
    of("CLIENT NO-EVICT", "", "v", ANY),
    of("CLIENT NO-TOUCH", "", "v", ANY),
    of("CLIENT PAUSE", "", "v", ANY),
    with(Effect::ClientReply, of("CLIENT REPLY", "", "v", ANY)),
    of("CLIENT SETINFO", "", "v", ANY),
    of("CLIENT SETNAME", "", "v", ANY),
    of("CLIENT TRACKING", "", "v", ANY),
    of("CLIENT TRACKINGINFO", "", "v", ANY),
    of("CLIENT UNBLOCK", "", "v", ANY),
    of("CLIENT UNPAUSE", "", "v", ANY),
    container("CLUSTER"),
    of("CLUSTER ADDSLOTS", "", "v", ANY),
    of("CLUSTER ADDSLOTSRANGE", "", "v", ANY),
    of("CLUSTER BUMPEPOCH", "", "v", ANY),
    of("CLUSTER COUNTKEYSINSLOT", "", "v", ANY),
    of("CLUSTER COUNT-FAILURE-REPORTS", "", "v", ANY),
    of("CLUSTER DELSLOTS", "", "v", ANY),
    of("CLUSTER DELSLOTSRANGE", "", "v", ANY),
    of("CLUSTER FAILOVER", "", "v", ANY),
    of("CLUSTER FLUSHSLOTS", "", "v", ANY),
    of("CLUSTER FORGET", "", "v", ANY),
    of("CLUSTER GETKEYSINSLOT", "", "v", ANY),
    of("CLUSTER INFO", "", "v", ANY),
    of("CLUSTER KEYSLOT", "k", "v", ANY),
    of("CLUSTER LINKS", "", "v", ANY),
    of("CLUSTER MEET", "", "v", ANY),
    of("CLUSTER MYID", "", "v", ANY),
    of("CLUSTER NODES", "", "v", ANY),
    of("CLUSTER REPLICAS", "", "v", ANY),
    of("CLUSTER REPLICATE", "", "v", ANY),
    of("CLUSTER RESET", "", "v", ANY),
    of("CLUSTER SAVECONFIG", "", "v", ANY),
    of("CLUSTER SETSLOT", "", "v", ANY),
    of("CLUSTER SHARDS", "", "v", ANY),
    of("CLUSTER SLAVES", "", "v", ANY),
    of("CLUSTER SLOTS", "", "v", ANY),
    container("COMMAND"),
    of("COMMAND COUNT", "", "v", ANY),
    of("COMMAND DOCS", "", "v", ANY),
    of("COMMAND GETKEYS", "", "v", ANY),
    of("COMMAND GETKEYSANDFLAGS", "", "v", ANY),
    of("COMMAND INFO", "", "v", ANY),
    of("COMMAND LIST", "", "v", ANY),
    container("CONFIG"),
    of("CONFIG GET", "", "k", ANY),
    of("CONFIG RESETSTAT", "", "v", ANY),
    of("CONFIG REWRITE", "", "v", ANY),
    of("CONFIG SET", "", "kv", ANY),
    of("DBSIZE", "", "v", INTEGER),
    of("DEBUG", "", "v", ANY),
    of("FAILOVER", "", "v", SIMPLE),
    of("FLUSHALL", "", "v", SIMPLE),
    of("FLUSHDB", "", "v", SIMPLE),
    of("INFO", "", "k", BULK),
    of("LASTSAVE", "", "v", INTEGER),
    container("LATENCY"),
    of("LATENCY DOCTOR", "", "v", ANY),
    of("LATENCY GRAPH", "", "v", ANY),
    of("LATENCY HISTOGRAM", "", "v", ANY),
    of("LATENCY HISTORY", "", "v", ANY),
    of("LATENCY LATEST", "", "v", ANY),
    of("LATENCY RESET", "", "v", ANY),
    of("LOLWUT", "", "v", ANY),
    container("MEMORY"),
    of("MEMORY DOCTOR", "", "v", ANY),
    of("MEMORY MALLOC-STATS", "", "v", ANY),
    of("MEMORY PURGE", "", "v", ANY),
    of("MEMORY STATS", "", "v", ANY),
    of("MEMORY USAGE", "k", "v", ANY),
    of("MIGRATE", "", "v", SIMPLE),
    container("MODULE"),
    of("MODULE LIST", "", "v", ANY),
    of("MODULE LOAD", "", "v", ANY),
    of("MODULE LOADEX", "", "v", ANY),
    of("MODULE UNLOAD", "", "v", ANY),
    with(Effect::Monitor, of("MONITOR", "", "v", SIMPLE)),
    container("OBJECT"),
    of("OBJECT ENCODING", "k", "v", ANY),
    of("OBJECT FREQ", "k", "v", ANY),
    of("OBJECT IDLETIME", "k", "v", ANY),
    of("OBJECT REFCOUNT", "k", "v", ANY),
    of("PFDEBUG", "", "v", ANY),
    of("PFSELFTEST", "", "v", SIMPLE),
    with(Effect::Sync, of("PSYNC", "", "v", ANY)),
    of("READONLY", "", "v", SIMPLE),
    of("READWRITE", "", "v", SIMPLE),
    of("REPLCONF", "", "v", ANY),
    of("REPLICAOF", "", "v", SIMPLE),
    of("ROLE", "", "v", ARRAY),
    of("SAVE", "", "v", SIMPLE),
    of("SHUTDOWN", "", "v", SIMPLE),
    of("SLAVEOF", "", "v", SIMPLE),
    container("SLOWLOG"),
    of("SLOWLOG GET", "", "v", ANY),
    of("SLOWLOG LEN", "", "v", ANY),
    of("SLOWLOG RESET", "", "v", ANY),
    of("SWAPDB", "", "v", SIMPLE),
    with(Effect::Sync, of("SYNC", "", "v", ANY)),
    of("TIME", "", "v", ARRAY),
    of("WAIT", "", "v", INTEGER),
    of("WAITAOF", "", "v", ARRAY),
];

const SLOTS: usize = 1024;

/// Open addressing: index + 1 of the entry, 0: free.
static INDEX: [u16; SLOTS] = index();

const fn hash(mut word: &[u8]) -> usize {
    let mut hash = 0x811c_9dc5_u32;
    while let [byte, rest @ ..] = word {
        hash = (hash ^ byte.to_ascii_uppercase() as u32).wrapping_mul(0x0100_0193);
        word = rest;
    }
    (hash ^ hash >> 15) as usize % SLOTS
}

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated while compiling")]
const fn index() -> [u16; SLOTS] {
    let (mut slots, mut entry) = ([0; SLOTS], 0);
    while entry < COMMANDS.len() {
        assert!(COMMANDS[entry].word.len() <= MAX_WORD);
        let mut slot = hash(COMMANDS[entry].word.as_bytes());
        while slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        entry += 1;
        slots[slot] = entry as u16;
    }
    slots
}

/// Finds a command by its word (two words where the first is a container), in either case.
pub(super) fn find(word: &[u8]) -> Option<&'static Command> {
    let mut slot = hash(word);
    loop {
        let command = COMMANDS.get(usize::from(INDEX.get(slot)?.checked_sub(1)?))?;
        if command.word.as_bytes().eq_ignore_ascii_case(word) {
            return Some(command);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// A word in upper case, if it is short enough for the table.
pub(super) struct Word {
    bytes: [u8; MAX_WORD],
    len: usize,
}

impl Word {
    pub(super) fn new(word: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_WORD];
        let room = bytes.get_mut(..word.len())?;
        room.copy_from_slice(word);
        room.make_ascii_uppercase();
        Some(Self { bytes, len: word.len() })
    }

    /// Appends a second word.
    pub(super) fn join(container: &str, word: &[u8]) -> Option<Self> {
        let mut joined = Self::new(container.as_bytes())?;
        let room = joined.bytes.get_mut(joined.len..joined.len + 1 + word.len())?;
        let (space, room) = room.split_first_mut()?;
        *space = b' ';
        room.copy_from_slice(word);
        room.make_ascii_uppercase();
        joined.len += 1 + word.len();
        Some(joined)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_word() {
        for command in COMMANDS {
            assert!(std::ptr::eq(find(command.word.as_bytes()).expect(command.word), command), "{}", command.word);
            assert_eq!(command.word, command.word.to_ascii_uppercase());
        }
        assert!(find(b"").is_none() && find(b"FT.SEARCH").is_none() && find(b"GETS").is_none());
    }

    #[test]
    fn words_of_a_container_follow_it() {
        for command in COMMANDS.iter().filter(|command| command.word.contains(' ')) {
            let (first, second) = command.word.split_once(' ').expect("two");
            assert_eq!(find(first.as_bytes()).map(|first| first.effect), Some(Effect::Container));
            assert_eq!(
                Word::join(first, second.to_ascii_lowercase().as_bytes()).expect("short").bytes(),
                command.word.as_bytes()
            );
        }
    }
}
