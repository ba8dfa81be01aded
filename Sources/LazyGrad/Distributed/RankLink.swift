// The way from this process to the other ranks: agreement before each collective, waiting that is watched, and
// what is sent. Uses MPILibrary, RollCall and ProcessEnd; knows nothing of tensors.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What a collective is, for ranks to compare.
final class CollectiveForm {
  /// For people: `sum of 1000 float32`.
  let summary: String
  /// What the summary leaves out: the shapes.
  let detail: String
  /// Ranks agree where this number is the same.
  let hash: UInt64
  /// How many bytes may travel with an agreement, where it is a sum that can be added up from there; else 0.
  let bytes: Int

  init(_ summary: String, detail: String = "", bytes: Int = 0) {
    (self.summary, self.detail, self.bytes) = (summary, detail, bytes)
    hash = Fingerprint(of: summary + "\n" + detail).value
  }
}

/// The connection to the other ranks of a launched program.
///
/// Each collective goes like this:
///
/// 1. `propose` starts to tell all ranks what this one wants: 16 bytes, a hash and a number of the
///    collective's own. What is to be sent is computed meanwhile.
/// 2. `agree` waits for what the others want. Where that is something else the ranks exchange descriptions,
///    and each throws the same error.
/// 3. Only then is anything sent whose size or meaning depends on the collective.
///
/// A small sum that comes again takes one message instead: having agreed on it each rank knows that of the others, so
/// all have room for its numbers in the next agreement, whatever that will be about (`carries`). They are looked
/// at when ranks have agreed once more.
///
/// So a rank that has left a loop early, or is in another branch, is found out before any library is told to
/// add floats to doubles, or to wait for a rank that never comes.
final class RankLink {
  let rank: Int
  let size: Int
  let library: MPILibrary
  private(set) var statistics = Communicator.Statistics()
  /// How many collectives there have been, that which is under way included.
  private var number = 0
  /// What a rank can't recover from: from then on every collective throws it.
  private var failure: CommunicationError?
  private var proposal: (form: CollectiveForm, request: MPILibrary.Request, seconds: Double)?
  /// A block for each rank: a hash, a number, and what has come with them; this rank's as it is sent stands behind
  /// those.
  private var blocks: UnsafeMutableRawPointer
  /// Room for a block.
  private var capacity = RankLink.header
  /// Bytes of a block that come with the hash and the number in this agreement.
  private var carriedBytes = 0
  /// The small sum that the next agreement has room for.
  private var expected: CollectiveForm?
  private var rollCall: RollCall

  init(_ library: MPILibrary, rank: Int, size: Int) {
    (self.library, self.rank, self.size) = (library, rank, size)
    blocks = Self.memory(size + 1, capacity)
    rollCall = RollCall(rank: rank, size: size)
  }

  deinit { blocks.deallocate() }

  private static func memory(_ count: Int, _ size: Int) -> UnsafeMutableRawPointer {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: count * size, alignment: 16)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: count * size)
    return memory
  }

  // MARK: Agreement

  /// Bytes of a hash and a number.
  private static let header = 16
  /// Below this number of bytes from all ranks together a sum is small: each rank gets them all and adds them up
  /// itself. That is one message instead of two, and the same bits.
  static let smallSize = 1 << 17

  /// Starts to tell the other ranks what this one wants.
  ///
  /// - Parameters:
  ///   - number: What the other ranks get with it, from `agree`.
  ///   - numbers: What is to be added up, of a sum that the agreement has room for.
  func propose(
    _ form: CollectiveForm, _ own: UInt64 = 0,
    carrying numbers: UnsafeMutableRawBufferPointer? = nil
  ) throws(CommunicationError) {
    if let failure { throw failure }
    if let proposal {
      throw fail(
        CommunicationError(
          form.summary,
          "expected one collective at a time, got it while rank \(rank) is in "
            + "'\(proposal.form.summary)', or after that has failed"))
    }
    number += 1
    carriedBytes = expected?.bytes ?? 0
    expected = nil
    if blockSize > capacity {
      blocks.deallocate()
      capacity = blockSize
      blocks = Self.memory(size + 1, capacity)
    }
    let sent = blocks + size * blockSize
    sent.storeBytes(of: form.hash, as: UInt64.self)
    sent.storeBytes(of: own, toByteOffset: 8, as: UInt64.self)
    if let numbers, let first = numbers.baseAddress {
      (sent + Self.header).copyMemory(from: first, byteCount: numbers.count)
    }
    let begin = Self.seconds()
    let request = try library.allgather(sent, count: blockSize, into: blocks)
    proposal = (form, request, Self.seconds() - begin)
  }

  /// Bytes from one rank's block to the next one's.
  private var blockSize: Int { Self.header + (carriedBytes + 15) / 16 * 16 }

  /// Whether the next agreement has room for the numbers of a sum.
  func carries(_ form: CollectiveForm) -> Bool { expected?.hash == form.hash }

  /// What has come with the last agreement from a rank; lasts until the next one.
  func carried(from rank: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(
      start: blocks + rank * blockSize + Self.header, count: carriedBytes)
  }

  /// The hash and the number of a rank.
  private func record(_ rank: Int) -> (hash: UInt64, number: UInt64) {
    let block = blocks + rank * blockSize
    return (block.load(as: UInt64.self), block.load(fromByteOffset: 8, as: UInt64.self))
  }

  /// The number that a rank has given with its last proposal, when ranks have agreed.
  func number(of rank: Int) -> UInt64 { record(rank).number }

  /// Waits until all ranks have said what they want.
  ///
  /// - Throws: The error that all ranks throw where they don't want the same.
  func agree() throws(CommunicationError) {
    guard let (form, request, seconds) = proposal else {
      preconditionFailure("agree without propose")
    }
    statistics.waitingSeconds += seconds + (try wait(for: request, form, .ranks))
    proposal = nil
    statistics.collectives += 1
    if (0..<size).allSatisfy({ record($0).hash == form.hash }) {
      if form.bytes > 0, form.bytes * size <= Self.smallSize { expected = form }
      return
    }
    throw fail(try disagreement(form))
  }

  /// Proposes and agrees where nothing is to be computed meanwhile.
  ///
  /// - Returns: The number that each rank has given.
  @discardableResult
  func agree(_ form: CollectiveForm, _ own: UInt64 = 0) throws(CommunicationError) -> [UInt64] {
    try propose(form, own)
    try agree()
    return (0..<size).map(number)
  }

  /// Who wants what.
  private func disagreement(_ form: CollectiveForm) throws(CommunicationError) -> CommunicationError
  {
    let lengths = (summary: 512, detail: 3584)
    let block = lengths.summary + lengths.detail
    let memory = UnsafeMutableRawPointer.allocate(byteCount: block * (size + 1), alignment: 8)
    defer { memory.deallocate() }
    let own = memory + block * size
    own.initializeMemory(as: UInt8.self, repeating: 0, count: block)
    own.copyMemory(
      from: Array(form.summary.utf8.prefix(lengths.summary - 1)),
      byteCount: min(form.summary.utf8.count, lengths.summary - 1))
    (own + lengths.summary).copyMemory(
      from: Array(form.detail.utf8.prefix(lengths.detail - 1)),
      byteCount: min(form.detail.utf8.count, lengths.detail - 1))
    try wait(for: library.allgather(own, count: block, into: memory), form, .data)
    func text(_ rank: Int, _ start: Int) -> String {
      String(
        cString: (memory + block * rank + start).assumingMemoryBound(to: CChar.self))
    }
    let summaries = (0..<size).map { text($0, 0) }
    let details = (0..<size).map { text($0, lengths.summary) }
    let areEqual = summaries.allSatisfy { $0 == summaries[0] }
    let wanted = areEqual ? zip(summaries, details).map { "\($0), \($1)" } : summaries
    return CommunicationError(
      "collective \(number)", "ranks disagree: \(RankList.grouped(wanted))", isShared: true)
  }

  /// Notes that this rank can't take part in a collective in which the others may be: whatever it would want next
  /// they would take for that.
  func giveUp(_ form: CollectiveForm) {
    failure = CommunicationError(
      form.summary, "expected no other collective after it has failed on rank \(rank)")
  }

  /// Notes an error after which nothing can be sent any more.
  private func fail(_ error: CommunicationError) -> CommunicationError {
    failure = error
    return error
  }

  // MARK: Waiting

  /// What a rank waits for.
  private enum Awaited { case ranks, data }

  static func seconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  /// Waits for a request, and says so where it takes long.
  ///
  /// Libraries move data only while they are called, so data is tested for all the time; after the first
  /// microseconds, in which a message within a machine comes, others get the core in between. For ranks that are
  /// late nothing is to be moved: after 2 ms their core, which may be this one, is left alone for some
  /// microseconds at a time.
  ///
  /// - Returns: The seconds that it took.
  @discardableResult
  private func wait(
    for request: MPILibrary.Request, _ form: CollectiveForm, _ awaited: Awaited
  ) throws(CommunicationError) -> Double {
    let begin = Self.seconds()
    var nextWarning = LazyGradEngine.stallSeconds
    let limit = LazyGradEngine.stallLimit
    let rollCallAt = min(1, min(nextWarning, limit ?? nextWarning) / 4)
    var hasCalled = false
    var waited = 0.0
    var tests = 0
    while try !library.isDone(request) {
      tests += 1
      if tests < Self.eagerTests { continue }
      waited = Self.seconds() - begin
      if awaited == .ranks, waited > 0.002 { usleep(50) } else { sched_yield() }
      if !hasCalled, waited >= rollCallAt {
        hasCalled = true
        try rollCall.say(number, library)
      }
      if let limit, waited >= limit {
        let missing = try whatIsMissing(awaited, waited)
        ProcessEnd.abort("\(title(form)): \(missing), the limit: all ranks end")
      }
      if waited >= nextWarning {
        ProcessEnd.say("\(title(form)): \(try whatIsMissing(awaited, waited))", rank)
        nextWarning *= 2
      }
    }
    return Self.seconds() - begin
  }

  /// How often a request is tested before anything else is done.
  private static let eagerTests = 32

  private func title(_ form: CollectiveForm) -> String { "collective \(number), \(form.summary)" }

  private func whatIsMissing(
    _ awaited: Awaited, _ waited: Double
  ) throws(CommunicationError) -> String {
    let seconds = waited < 10 ? "\((waited * 10).rounded() / 10)" : "\(Int(waited))"
    if awaited == .data { return "its data is on the way since \(seconds) s" }
    let missing = try rollCall.missing(number, library)
    return "waiting since \(seconds) s for \(RankList.text(missing))"
  }

  // MARK: What is sent

  /// Starts to send something and waits until it has come.
  private func transfer(
    _ form: CollectiveForm, _ start: () throws(CommunicationError) -> MPILibrary.Request
  ) throws(CommunicationError) {
    let begin = Self.seconds()
    try wait(for: try start(), form, .data)
    statistics.transferSeconds += Self.seconds() - begin
  }

  /// One rank's bytes for all.
  func broadcast(
    _ bytes: UnsafeMutableRawBufferPointer, from root: Int, _ form: CollectiveForm
  ) throws(CommunicationError) {
    guard let base = bytes.baseAddress else { return }
    for start in stride(from: 0, to: bytes.count, by: Self.pieceSize) {
      let count = min(Self.pieceSize, bytes.count - start)
      try transfer(form) { () throws(CommunicationError) in
        try library.broadcast(base + start, count: count, from: root)
      }
    }
    statistics.bytes += bytes.count
  }

  /// All ranks' bytes one after the other; this rank's are already there.
  func allgather(
    _ all: UnsafeMutableRawBufferPointer, parts: [Range<Int>], _ form: CollectiveForm
  ) throws(CommunicationError) {
    guard let base = all.baseAddress else { return }
    let parts = MPILibrary.Parts(parts)
    try transfer(form) { () throws(CommunicationError) in
      try library.allgather(inPlace: base, parts)
    }
    withExtendedLifetime(parts) {}
    statistics.bytes += all.count
  }

  /// Each rank's bytes for the others, which are equally many everywhere.
  func allgather(
    _ bytes: UnsafeRawBufferPointer, into all: UnsafeMutableRawPointer, _ form: CollectiveForm
  ) throws(CommunicationError) {
    guard let base = bytes.baseAddress, bytes.count > 0 else { return }
    try transfer(form) { () throws(CommunicationError) in
      try library.allgather(base, count: bytes.count, into: all)
    }
    statistics.bytes += bytes.count
  }

  /// Sends each rank its part, and gets as many bytes from each.
  func exchange(
    _ bytes: UnsafeRawPointer, parts: [Range<Int>], into received: UnsafeMutableRawPointer,
    _ form: CollectiveForm
  ) throws(CommunicationError) {
    let own = parts[rank].count
    let sent = MPILibrary.Parts(parts)
    let got = MPILibrary.Parts((0..<size).map { $0 * own..<($0 + 1) * own })
    try transfer(form) { () throws(CommunicationError) in
      try library.exchange(bytes, sent, into: received, got)
    }
    withExtendedLifetime((sent, got)) {}
  }

  /// The library's own sum, in place.
  func librarySum(
    _ elements: UnsafeMutableRawPointer, count: Int, _ type: DType, _ form: CollectiveForm
  ) throws(CommunicationError) {
    try transfer(form) { () throws(CommunicationError) in
      try library.sum(elements, count: count, type)
    }
    statistics.bytes += count * type.size
  }

  /// Bytes that go at a time: their numbers and offsets are C integers, and what they take besides is limited.
  static let pieceSize = 32 << 20

  /// Counts bytes that a collective has been over.
  func count(bytes: Int) { statistics.bytes += bytes }

  /// The name of every rank's machine.
  func hosts() throws(CommunicationError) -> [String] {
    let length = 256
    let form = CollectiveForm("begin of Communicator.run")
    try agree(form)
    let memory = UnsafeMutablePointer<CChar>.allocate(capacity: length * (size + 1))
    defer { memory.deallocate() }
    memory.initialize(repeating: 0, count: length * (size + 1))
    let own = memory + length * size
    for (i, byte) in library.hostName.utf8.prefix(length - 1).enumerated() {
      own[i] = CChar(bitPattern: byte)
    }
    try allgather(UnsafeRawBufferPointer(start: own, count: length), into: memory, form)
    number = 0
    statistics = Communicator.Statistics()
    return (0..<size).map { String(cString: memory + length * $0) }
  }

  // MARK: End

  /// Waits until all ranks are at the end, and ends MPI.
  func leave() throws(CommunicationError) {
    try agree(CollectiveForm("end of Communicator.run"))
    failure = CommunicationError(
      "Communicator", "expected a communicator inside Communicator.run, got one whose run has ended"
    )
    try rollCall.finish(library)
    ProcessEnd.release()
    try library.stop()
  }
}
