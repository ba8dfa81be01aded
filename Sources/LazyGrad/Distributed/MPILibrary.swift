// A library of MPI that has been opened: its functions as they are called, and its errors as Swift's. Uses
// MPIInterface and ProcessEnd.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The functions of an MPI library that LazyGrad calls.
///
/// Every collective is the non-blocking one, so that waiting can be watched. Requests are the 8 bytes that
/// `MPIInterface` tells of.
final class MPILibrary {
  /// A handle, or an address with a special meaning.
  typealias Handle = UInt
  typealias Status = Int32
  private typealias Counts = UnsafePointer<Int32>

  let path: String
  let interface: MPIInterface
  let world: Handle
  let byte: Handle
  private let library: UnsafeMutableRawPointer
  private let inPlace: Handle
  private let noStatus: Handle
  private let sumOperation: Handle
  private let types: (float: Handle, double: Handle, int32: Handle, int64: Handle)

  private typealias Test =
    @convention(c) (
      _ request: UnsafeMutablePointer<Handle>, _ flag: UnsafeMutablePointer<Int32>, _ status: Handle
    ) -> Status
  private typealias Allgather =
    @convention(c) (
      _ send: UnsafeRawPointer?, _ sendCount: Int32, _ sendType: Handle,
      _ receive: UnsafeMutableRawPointer?, _ receiveCount: Int32, _ receiveType: Handle,
      _ world: Handle, _ request: UnsafeMutablePointer<Handle>
    ) -> Status
  private typealias AllgatherParts =
    @convention(c) (
      _ send: Handle, _ sendCount: Int32, _ sendType: Handle, _ receive: UnsafeMutableRawPointer?,
      _ counts: Counts, _ displacements: Counts, _ receiveType: Handle, _ world: Handle,
      _ request: UnsafeMutablePointer<Handle>
    ) -> Status
  private typealias AllToAllParts =
    @convention(c) (
      _ send: UnsafeRawPointer?, _ sendCounts: Counts, _ sendDisplacements: Counts,
      _ sendType: Handle, _ receive: UnsafeMutableRawPointer?, _ receiveCounts: Counts,
      _ receiveDisplacements: Counts, _ receiveType: Handle, _ world: Handle,
      _ request: UnsafeMutablePointer<Handle>
    ) -> Status
  private typealias Allreduce =
    @convention(c) (
      _ send: Handle, _ receive: UnsafeMutableRawPointer?, _ count: Int32, _ type: Handle,
      _ operation: Handle, _ world: Handle, _ request: UnsafeMutablePointer<Handle>
    ) -> Status
  private typealias Broadcast =
    @convention(c) (
      _ bytes: UnsafeMutableRawPointer?, _ count: Int32, _ type: Handle, _ root: Int32,
      _ world: Handle, _ request: UnsafeMutablePointer<Handle>
    ) -> Status
  private typealias Send =
    @convention(c) (
      _ bytes: UnsafeRawPointer?, _ count: Int32, _ type: Handle, _ rank: Int32, _ tag: Int32,
      _ world: Handle, _ request: UnsafeMutablePointer<Handle>
    ) -> Status
  private typealias Receive =
    @convention(c) (
      _ bytes: UnsafeMutableRawPointer?, _ count: Int32, _ type: Handle, _ rank: Int32,
      _ tag: Int32, _ world: Handle, _ status: Handle
    ) -> Status
  private typealias Probe =
    @convention(c) (
      _ rank: Int32, _ tag: Int32, _ world: Handle, _ flag: UnsafeMutablePointer<Int32>,
      _ status: Handle
    ) -> Status
  private typealias Text =
    @convention(c) (UnsafeMutablePointer<CChar>, UnsafeMutablePointer<Int32>) -> Status
  private typealias ErrorText =
    @convention(c) (Int32, UnsafeMutablePointer<CChar>, UnsafeMutablePointer<Int32>) -> Status
  private typealias Abort = @convention(c) (Handle, Int32) -> Status
  private typealias Finalize = @convention(c) () -> Status

  private let test: Test
  private let allgather: Allgather
  private let allgatherParts: AllgatherParts
  private let allToAllParts: AllToAllParts
  private let allreduce: Allreduce
  private let broadcast: Broadcast
  private let send: Send
  private let receive: Receive
  private let probe: Probe
  private let processorName: Text
  private let libraryVersion: Text
  private let errorText: ErrorText
  private let abort: Abort
  private let finalize: Finalize

  /// Opens a library and finds what it has.
  ///
  /// - Throws: `CommunicationError` where there is no such file, or it is no MPI library.
  init(opening path: String) throws(CommunicationError) {
    // Global: the parts that MPI libraries open themselves look for symbols of the library.
    guard let library = dlopen(path, RTLD_NOW | RTLD_GLOBAL) else {
      throw CommunicationError(
        "Communicator.run",
        "expected an MPI library, got '\(path)': \(dlerror().map { String(cString: $0) } ?? "")")
    }
    func symbol(_ name: String) throws(CommunicationError) -> UnsafeMutableRawPointer {
      if let symbol = dlsym(library, name) { return symbol }
      throw CommunicationError(
        "Communicator.run", "expected an MPI library, got '\(path)', which has no \(name)")
    }
    func function<F>(_ name: String, _: F.Type) throws(CommunicationError) -> F {
      unsafeBitCast(try symbol("MPI_" + name), to: F.self)
    }
    test = try function("Test", Test.self)
    allgather = try function("Iallgather", Allgather.self)
    allgatherParts = try function("Iallgatherv", AllgatherParts.self)
    allToAllParts = try function("Ialltoallv", AllToAllParts.self)
    allreduce = try function("Iallreduce", Allreduce.self)
    broadcast = try function("Ibcast", Broadcast.self)
    send = try function("Isend", Send.self)
    receive = try function("Recv", Receive.self)
    probe = try function("Iprobe", Probe.self)
    processorName = try function("Get_processor_name", Text.self)
    libraryVersion = try function("Get_library_version", Text.self)
    errorText = try function("Error_string", ErrorText.self)
    abort = try function("Abort", Abort.self)
    finalize = try function("Finalize", Finalize.self)
    let interface = MPIInterface(of: library)
    func handle(_ constant: MPIInterface.Constant) throws(CommunicationError) -> Handle {
      switch constant {
      case .value(let value): Handle(bitPattern: value)
      case .address(let name): Handle(bitPattern: try symbol(name))
      }
    }
    world = try handle(interface.world)
    byte = try handle(interface.byte)
    inPlace = try handle(interface.inPlace)
    noStatus = try handle(interface.noStatus)
    sumOperation = try handle(interface.sum)
    types = (
      try handle(interface.float), try handle(interface.double), try handle(interface.int32),
      try handle(interface.int64)
    )
    (self.path, self.library, self.interface) = (path, library, interface)
  }

  // MARK: Begin and end

  /// Starts MPI, and says that errors are to be returned.
  ///
  /// - Returns: This process' rank, and how many there are.
  func start() throws(CommunicationError) -> (rank: Int, size: Int) {
    typealias Initialize =
      @convention(c) (
        UnsafeMutableRawPointer?, UnsafeMutableRawPointer?, Int32, UnsafeMutablePointer<Int32>
      ) -> Status
    typealias Ask = @convention(c) (UnsafeMutablePointer<Int32>) -> Status
    typealias Number = @convention(c) (Handle, UnsafeMutablePointer<Int32>) -> Status
    typealias SetHandler = @convention(c) (Handle, Handle) -> Status
    func function<F>(_ name: String, _: F.Type) throws(CommunicationError) -> F {
      guard let symbol = dlsym(library, "MPI_" + name) else {
        throw CommunicationError(
          "Communicator.run", "expected an MPI library, got '\(path)', which has no MPI_\(name)")
      }
      return unsafeBitCast(symbol, to: F.self)
    }
    var isStarted = Int32(0)
    try check(function("Initialized", Ask.self)(&isStarted), "MPI_Initialized")
    if isStarted != 0 {
      throw CommunicationError(
        "Communicator.run", "expected to be the first to start MPI, got a process where it has run")
    }
    var provided = Int32(-1)
    try check(
      function("Init_thread", Initialize.self)(nil, nil, interface.serializedThreads, &provided),
      "MPI_Init_thread")
    if provided < interface.serializedThreads {
      throw CommunicationError(
        "Communicator.run",
        "expected an MPI library that threads may call one at a time, got '\(path)', which gives "
          + "level \(provided) of threads and not \(interface.serializedThreads)")
    }
    let errorsReturn: Handle
    switch interface.errorsReturn {
    case .value(let value): errorsReturn = Handle(bitPattern: value)
    case .address(let name): errorsReturn = Handle(bitPattern: dlsym(library, name))
    }
    try check(
      function("Comm_set_errhandler", SetHandler.self)(world, errorsReturn),
      "MPI_Comm_set_errhandler")
    var (rank, size) = (Int32(0), Int32(0))
    try check(function("Comm_rank", Number.self)(world, &rank), "MPI_Comm_rank")
    try check(function("Comm_size", Number.self)(world, &size), "MPI_Comm_size")
    return (Int(rank), Int(size))
  }

  /// Ends MPI; all ranks have to come here.
  func stop() throws(CommunicationError) { try check(finalize(), "MPI_Finalize") }

  /// How to end all ranks, now.
  func abortCall(rank: Int) -> ProcessEnd.Abort {
    ProcessEnd.Abort(rank: rank, function: abort, world: world)
  }

  /// What a failed call has returned, as an error.
  private func check(_ status: Status, _ name: String) throws(CommunicationError) {
    if status == 0 { return }
    let text = self.text { errorText(status, $0, $1) } ?? "error \(status)"
    throw CommunicationError(name, text)
  }

  /// A text that the library writes into memory of ours.
  private func text(_ write: (UnsafeMutablePointer<CChar>, UnsafeMutablePointer<Int32>) -> Status)
    -> String?
  {
    // The longest that any of the libraries has: 8192.
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 8193) { buffer in
      buffer.initialize(repeating: 0)
      var length = Int32(0)
      return write(buffer.baseAddress!, &length) == 0
        ? String(cString: buffer.baseAddress!) : nil
    }
  }

  /// The name of the machine.
  var hostName: String { text { processorName($0, $1) } ?? "" }

  /// The library's name and version, without what it says besides.
  var version: String {
    let text = text { libraryVersion($0, $1) } ?? ""
    let words = text.split(whereSeparator: \.isNewline).first?.split(separator: ",").first?
      .split(whereSeparator: \.isWhitespace)
    return words?.joined(separator: " ") ?? interface.rawValue
  }

  // MARK: What is sent

  /// A request that runs; tested until it is done.
  struct Request {
    fileprivate var handle = UnsafeMutablePointer<Handle>.allocate(capacity: 1)

    fileprivate init() { handle.initialize(to: 0) }

    fileprivate func free() { handle.deallocate() }
  }

  private func request(
    _ name: String, _ start: (UnsafeMutablePointer<Handle>) -> Status
  ) throws(CommunicationError) -> Request {
    let request = Request()
    do throws(CommunicationError) { try check(start(request.handle), name) } catch {
      request.free()
      throw error
    }
    return request
  }

  /// Whether a request is done; it must not be asked for again then.
  func isDone(_ request: Request) throws(CommunicationError) -> Bool {
    var flag = Int32(0)
    try check(test(request.handle, &flag, noStatus), "MPI_Test")
    if flag != 0 { request.free() }
    return flag != 0
  }

  /// Every rank's `count` bytes, in the order of ranks.
  func allgather(
    _ bytes: UnsafeRawPointer, count: Int, into all: UnsafeMutableRawPointer
  ) throws(CommunicationError) -> Request {
    try request("MPI_Iallgather") {
      allgather(bytes, Int32(count), byte, all, Int32(count), byte, world, $0)
    }
  }

  /// Every rank's part of some bytes; this rank's is already there.
  func allgather(
    inPlace bytes: UnsafeMutableRawPointer, _ parts: Parts
  ) throws(CommunicationError) -> Request {
    try request("MPI_Iallgatherv") {
      allgatherParts(inPlace, 0, byte, bytes, parts.counts, parts.starts, byte, world, $0)
    }
  }

  /// Sends each rank its part of some bytes, and gets from each the part that is this rank's.
  func exchange(
    _ bytes: UnsafeRawPointer, _ parts: Parts, into received: UnsafeMutableRawPointer,
    _ receivedParts: Parts
  ) throws(CommunicationError) -> Request {
    try request("MPI_Ialltoallv") {
      allToAllParts(
        bytes, parts.counts, parts.starts, byte, received, receivedParts.counts,
        receivedParts.starts, byte, world, $0)
    }
  }

  /// The sum over all ranks, in the order that the library likes.
  func sum(
    _ elements: UnsafeMutableRawPointer, count: Int, _ type: DType
  ) throws(CommunicationError) -> Request {
    let handle: Handle =
      switch type {
      case .float64: types.double
      case .int32: types.int32
      case .int64: types.int64
      default: types.float
      }
    return try request("MPI_Iallreduce") {
      allreduce(inPlace, elements, Int32(count), handle, sumOperation, world, $0)
    }
  }

  /// One rank's bytes for all.
  func broadcast(
    _ bytes: UnsafeMutableRawPointer, count: Int, from root: Int
  ) throws(CommunicationError) -> Request {
    try request("MPI_Ibcast") { broadcast(bytes, Int32(count), byte, Int32(root), world, $0) }
  }

  // MARK: Between two ranks

  /// Sends a few bytes, which have to stay where they are until the request is done.
  func send(
    _ bytes: UnsafeRawPointer, count: Int, to rank: Int, tag: Int32
  ) throws(CommunicationError) -> Request {
    try request("MPI_Isend") { send(bytes, Int32(count), byte, Int32(rank), tag, world, $0) }
  }

  /// A number that a rank has sent; nil where there is none.
  func number(from rank: Int, tag: Int32) throws(CommunicationError) -> Int64? {
    var (flag, number) = (Int32(0), Int64(0))
    try check(probe(Int32(rank), tag, world, &flag, noStatus), "MPI_Iprobe")
    if flag == 0 { return nil }
    try check(
      receive(&number, Int32(MemoryLayout<Int64>.size), byte, Int32(rank), tag, world, noStatus),
      "MPI_Recv")
    return number
  }
}

extension MPILibrary {
  /// How bytes are divided among the ranks: their numbers, and where each part begins. The library reads the
  /// numbers until the request is done, so they stand where they don't move.
  final class Parts {
    let counts: UnsafePointer<Int32>
    let starts: UnsafePointer<Int32>
    private let memory: UnsafeMutablePointer<Int32>

    init(_ parts: [Range<Int>]) {
      memory = .allocate(capacity: 2 * parts.count)
      memory.initialize(repeating: 0, count: 2 * parts.count)
      for (rank, part) in parts.enumerated() {
        memory[rank] = Int32(part.count)
        memory[parts.count + rank] = Int32(part.lowerBound)
      }
      counts = UnsafePointer(memory)
      starts = UnsafePointer(memory + parts.count)
    }

    deinit { memory.deallocate() }
  }
}
