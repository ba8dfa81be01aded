// What the environment says of who started this process, and which files may be the MPI library that goes
// with it. Opens nothing.

import Foundation

/// The program that started this process as one of several, such as `mpirun`.
package struct Launcher: Equatable {
  package enum Kind: Equatable {
    case openMPI
    /// Hydra, the launcher of MPICH and Intel MPI, or another that speaks its protocol, as Slurm does.
    case hydra
    /// One that speaks PMIx, which more than one MPI knows.
    case pmix
  }

  package let kind: Kind
  /// What this process is, if the launcher says so.
  package let rank: Int?
  /// How many processes there are, if the launcher says so, and in which variable.
  package let size: Int?
  let sizeName: String
  private let environment: [String: String]

  /// The launcher that an environment tells of; nil: nobody has launched this process.
  package init?(_ environment: [String: String]) {
    func number(_ names: String...) -> (name: String, value: Int)? {
      for name in names {
        if let value = environment[name].flatMap({ Int($0) }) { return (name, value) }
      }
      return nil
    }
    let size: (name: String, value: Int)?
    if let open = number("OMPI_COMM_WORLD_SIZE") {
      kind = .openMPI
      size = open
      rank = number("OMPI_COMM_WORLD_RANK")?.value
    } else if environment["PMI_SIZE"] != nil || environment["PMI_RANK"] != nil {
      kind = .hydra
      size = number("PMI_SIZE", "SLURM_STEP_NUM_TASKS")
      rank = number("PMI_RANK")?.value
    } else if environment["PMIX_RANK"] != nil {
      kind = .pmix
      size = number("SLURM_STEP_NUM_TASKS")
      rank = number("PMIX_RANK")?.value
    } else {
      return nil
    }
    self.size = size?.value
    sizeName = size?.name ?? ""
    self.environment = environment
  }

  /// The names that libraries have, those that go with the launcher first.
  private var libraryNames: [String] {
    #if canImport(Darwin)
      let (open, mpich) = (["libmpi.40.dylib"], ["libmpi.12.dylib", "libpmpi.12.dylib"])
      let standard = ["libmpi_abi.1.dylib"]
    #else
      let (open, mpich) = (["libmpi.so.40"], ["libmpi.so.12", "libmpich.so.12"])
      let standard = ["libmpi_abi.so.1"]
    #endif
    switch kind {
    case .openMPI: return open
    case .hydra: return mpich + standard
    case .pmix: return open + mpich + standard
    }
  }

  /// Files to try, best first: beside the launcher, where its own variables say, and what the dynamic linker
  /// finds by itself. Several MPIs may be installed, so what is beside the launcher comes before what is found
  /// by name.
  package func libraryFiles(parentProgram: String?) -> [String] {
    var folders: [String] = []
    for name in ["OMPI_LIBDIR_LOC"] { if let folder = environment[name] { folders.append(folder) } }
    for name in ["OPAL_PREFIX", "PMIX_PREFIX", "I_MPI_ROOT"] {
      if let folder = environment[name] { folders.append(folder + "/lib") }
    }
    if let parentProgram {
      let programs = (parentProgram as NSString).deletingLastPathComponent
      let root = (programs as NSString).deletingLastPathComponent
      // The system's own folders are the dynamic linker's affair: what goes with the launcher need not be
      // what is there under a general name.
      if !["/usr", "/usr/local", "", "/"].contains(root) {
        folders += [root + "/lib", root + "/lib64"]
      }
    }
    let beside = folders.flatMap { folder in libraryNames.map { "\(folder)/\($0)" } }
    var known: Set<String> = []
    return (beside.filter { FileManager.default.fileExists(atPath: $0) } + libraryNames)
      .filter { known.insert($0).inserted }
  }

  /// The file of the program that started this one, where the system says it.
  static var parentProgram: String? {
    try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(getppid())/exe")
  }

  /// Opens the library that goes with the launcher.
  ///
  /// - Parameter chosen: The only one to try, where the environment names it.
  func openLibrary(_ chosen: String?) throws(CommunicationError) -> MPILibrary {
    if let chosen {
      let library = try MPILibrary(opening: chosen)
      // MPICH does not come back from its start under Open MPI's launcher.
      if kind == .openMPI, library.interface == .mpich {
        throw mismatch(library, "is one of MPICH's kind")
      }
      return library
    }
    let files = libraryFiles(parentProgram: Self.parentProgram)
    for file in files {
      if let library = try? MPILibrary(opening: file) { return library }
    }
    throw CommunicationError(
      "Communicator.run",
      "expected the MPI library of the launcher, found none of \(files.joined(separator: ", ")); "
        + "LAZYGRAD_MPI=file names it")
  }

  /// Why a world of one process can't be what the launcher has started; nil if it can.
  func objection(toWorldOf size: Int, _ library: MPILibrary) -> CommunicationError? {
    guard let launched = self.size, size != launched else { return nil }
    return mismatch(library, "(\(library.version)) sees \(size)")
  }

  private func mismatch(_ library: MPILibrary, _ what: String) -> CommunicationError {
    CommunicationError(
      "Communicator.run",
      "the launcher has started \(size ?? 0) processes (\(sizeName)), but '\(library.path)' "
        + "\(what): it is the library of another MPI; LAZYGRAD_MPI=file names the one that goes with "
        + "the launcher")
  }
}
