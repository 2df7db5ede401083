"""Operations on whole models, one public function per file."""
