// What differs between the binary interfaces of MPI: the table of their constants, and how a library that has
// been opened tells which one it has. Uses the dynamic linker.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A binary interface of MPI.
///
/// MPI defines names and leaves to each library what they are: Open MPI's handles are addresses of its own
/// objects, MPICH's are C integers, those of the standard interface of MPI 5 are small numbers in a pointer. All
/// of them fit a `UInt` that is passed in a register or in 8 bytes of the stack, of which a library that wants
/// 4 reads the lower ones. Memory for a handle that a library returns is 8 zeroed bytes, of which MPICH
/// writes 4.
enum MPIInterface: String, CaseIterable {
  /// Open MPI 4 and 5.
  case openMPI = "Open MPI"
  /// MPICH 4 and 5, Intel MPI, and what else keeps to MPICH's interface.
  case mpich = "MPICH"
  /// The standard interface of MPI 5: `libmpi_abi`.
  case standard = "the standard interface"

  /// What stands behind a name of MPI.
  enum Constant {
    case value(Int)
    /// The address of a symbol of the library.
    case address(String)
  }

  /// A row of the table: the three in the order of the cases.
  private typealias Row = (openMPI: Constant, mpich: Constant, standard: Constant)

  private func pick(_ row: Row) -> Constant {
    switch self {
    case .openMPI: row.openMPI
    case .mpich: row.mpich
    case .standard: row.standard
    }
  }

  // The table. Sources: `mpi.h` of Open MPI 5.0 and of MPICH 5.0, and chapter 20 of the MPI 5.0 standard.

  var world: Constant {
    pick((.address("ompi_mpi_comm_world"), .value(0x4400_0000), .value(0x101)))
  }
  var sum: Constant { pick((.address("ompi_mpi_op_sum"), .value(0x5800_0003), .value(0x21))) }
  var float: Constant { pick((.address("ompi_mpi_float"), .value(0x4c00_040a), .value(0x210))) }
  var double: Constant { pick((.address("ompi_mpi_double"), .value(0x4c00_080b), .value(0x214))) }
  var int64: Constant { pick((.address("ompi_mpi_int64_t"), .value(0x4c00_083a), .value(0x258))) }
  var int32: Constant { pick((.address("ompi_mpi_int32_t"), .value(0x4c00_0439), .value(0x250))) }
  var byte: Constant { pick((.address("ompi_mpi_byte"), .value(0x4c00_010d), .value(0x247))) }
  var inPlace: Constant { pick((.value(1), .value(-1), .value(1))) }
  var noStatus: Constant { pick((.value(0), .value(1), .value(0))) }
  var errorsReturn: Constant {
    pick((.address("ompi_mpi_errors_return"), .value(0x5400_0001), .value(0x143)))
  }
  /// The level of threads at which one at a time may call: ours move with the task that trains.
  var serializedThreads: Int32 { self == .standard ? 2048 : 2 }

  /// The interface of a library that has been opened.
  ///
  /// `MPI_Abi_get_version` alone does not tell: MPICH 5 and Intel MPI have it in their own interfaces as well,
  /// where it says -1.
  init(of library: UnsafeMutableRawPointer) {
    typealias GetVersion =
      @convention(c) (
        _ major: UnsafeMutablePointer<Int32>, _ minor: UnsafeMutablePointer<Int32>
      ) -> Int32
    if dlsym(library, "ompi_mpi_comm_world") != nil {
      self = .openMPI
      return
    }
    var (major, minor) = (Int32(-1), Int32(-1))
    if let symbol = dlsym(library, "MPI_Abi_get_version"),
      unsafeBitCast(symbol, to: GetVersion.self)(&major, &minor) == 0, major > 0
    {
      self = .standard
      return
    }
    self = .mpich
  }
}
