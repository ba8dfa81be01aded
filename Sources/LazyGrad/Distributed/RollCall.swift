// Which ranks wait, told by those that do: so that a warning can name the ones that are missing. Uses MPILibrary.

/// What ranks say of themselves while they wait.
///
/// Nothing tells a rank in a collective who has not come yet. So whoever has waited for a moment sends every
/// other rank the number of the collective that it is in. Who is asked to name the missing ones reads what
/// has come, and names all others. A rank that computes sends nothing and reads nothing.
struct RollCall {
  private static let tag: Int32 = 17
  private let rank: Int
  /// The latest collective that each rank is known to have come to.
  private var heard: [Int64]
  /// What is being sent; the number stands where it doesn't move.
  private var sending: [(request: MPILibrary.Request, number: UnsafeMutablePointer<Int64>)] = []

  init(rank: Int, size: Int) {
    self.rank = rank
    heard = Array(repeating: 0, count: size)
  }

  /// Tells the others that this rank waits in a collective.
  mutating func say(_ number: Int, _ library: MPILibrary) throws(CommunicationError) {
    try settle(library)
    for other in heard.indices where other != rank {
      let memory = UnsafeMutablePointer<Int64>.allocate(capacity: 1)
      memory.initialize(to: Int64(number))
      let request = try library.send(memory, count: 8, to: other, tag: Self.tag)
      sending.append((request, memory))
    }
  }

  /// The ranks that have not said that they wait in a collective.
  mutating func missing(_ number: Int, _ library: MPILibrary) throws(CommunicationError) -> [Int] {
    try listen(library)
    return heard.indices.filter { $0 != rank && heard[$0] < number }
  }

  /// Reads what has come, so that nothing is on the way when MPI ends.
  mutating func finish(_ library: MPILibrary) throws(CommunicationError) {
    try settle(library)
    try listen(library)
  }

  private mutating func listen(_ library: MPILibrary) throws(CommunicationError) {
    for other in heard.indices where other != rank {
      while let number = try library.number(from: other, tag: Self.tag) {
        heard[other] = max(heard[other], number)
      }
    }
  }

  /// Frees what has been sent.
  private mutating func settle(_ library: MPILibrary) throws(CommunicationError) {
    var left = sending
    left.removeAll()
    for entry in sending {
      if try library.isDone(entry.request) {
        entry.number.deallocate()
      } else {
        left.append(entry)
      }
    }
    sending = left
  }
}

/// Ranks in messages.
enum RankList {
  /// `rank 2`, `ranks 1, 2`.
  static func text(_ ranks: [Int]) -> String {
    "\(ranks.count == 1 ? "rank" : "ranks") \(ranks.map(String.init).joined(separator: ", "))"
  }

  /// What each rank says, with equal ones together: `rank 0, 1: this; rank 2: that`.
  static func grouped(_ texts: [String]) -> String {
    var groups: [(text: String, ranks: [Int])] = []
    for (rank, text) in texts.enumerated() {
      if let known = groups.firstIndex(where: { $0.text == text }) {
        groups[known].ranks.append(rank)
      } else {
        groups.append((text, [rank]))
      }
    }
    return groups.map { "rank \($0.ranks.map(String.init).joined(separator: ", ")): \($0.text)" }
      .joined(separator: "; ")
  }
}
