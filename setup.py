"""Package definition: ranges for the library; the locks in requirements/ pin the application."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="isic-lesion-pipelines",
    version=runpy.run_path(str(Path(__file__).parent / "pipelines/__init__.py"))["__version__"],
    description=(
        "Apache Beam pipelines and a tf.distribute trainer for ISIC skin-lesion archives: "
        "audited, leak-free, balanced TFRecords; a bespoke CNN; batch scoring."
    ),
    license="Apache-2.0",
    # tensorflow-transform needs tfx-bsl, which has no wheel for 3.14.
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["pipelines", "pipelines.*", "trainer", "trainer.*"]),
    entry_points={"console_scripts": ["isic-lesions = pipelines.__main__:main"]},
    package_data={
        "pipelines": ["common/templates/*.j2", "dataset/schemas/*.json", "py.typed"],
        "trainer": ["config/*.json", "py.typed"],
    },
    install_requires=[
        # Below 2.76 Beam leaks memory when elements often fail.
        "apache-beam[gcp]>=2.77,<2.78",
        "google-cloud-storage>=2.19",
        "google-crc32c>=1.6",
        "jinja2>=3.1",
        "jsonschema>=4.23",
        "numpy>=2.0",
        "pillow>=11",
        "pyarrow>=16",
        "pyyaml>=6",
        "scipy>=1.13",
        "simplejpeg>=1.8",
        "tensorflow>=2.21,<2.22",
        "tensorflow-transform>=1.21,<1.22",
        "threadpoolctl>=3.5",
        "tqdm>=4.67",
    ],
    extras_require={
        # Images in an HDF5 file, as the ISIC challenge of 2024 gives them.
        "hdf5": ["h5py>=3.10"],
        # Tables in workbooks: .xlsx, .xls, .ods.
        "excel": ["python-calamine>=0.4"],
        # s3:// as input and output, through Beam's filesystem.
        "s3": ["apache-beam[aws]>=2.77,<2.78"],
        # Reads a dataset with tfds.builder_from_directory; nothing of ours imports it.
        "tfds": ["tensorflow-datasets>=4.9.10,<5"],
        "train": [
            "matplotlib>=3.9",
            "scikit-learn>=1.5",
            "tensorboard>=2.19",
        ],
        "dev": [
            "cryptography>=44",
            # For the test that keeps Beam's fault on Dask in view; the jobs refuse that runner.
            "dask>=2024.4.2",
            "distributed>=2024.4.2",
            # With flask and flask-cors moto serves S3 on loopback; moto[server] would bring docker and more.
            "flask>=3",
            "flask-cors>=5",
            "gcp-storage-emulator>=2024.8",
            "hypothesis>=6.130",
            "import-linter>=2.3",
            # The challenge's own scorer, for tests of our figures and submissions.
            "isic-challenge-scoring>=5.6",
            "moto[s3]>=5.1",
            "mypy>=1.14",
            "pandas>=2.2",
            # Without it Beam's BigQuery client takes no proxy.
            "pysocks>=1.7",
            "pytest>=8",
            "pytest-cov>=6",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
        ],
    },
)
